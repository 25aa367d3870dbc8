"""What every part of the suite may use."""

import gc
import os

if "PYTEST_XDIST_WORKER" in os.environ:  # one thread each: workers that share cores fight for them
    os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["pytester"]


def pytest_collection_finish() -> None:
    """Modules and tests stay to the end: from here on the garbage collector passes them by."""
    gc.collect()
    gc.freeze()
