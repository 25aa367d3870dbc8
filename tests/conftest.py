"""What every part of the suite may use."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # one thread each: workers that share cores fight for them
    os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["pytester"]
