"""How the threads of one process share the cores."""

from __future__ import annotations

import os


def let_idle_threads_sleep() -> None:
    """Keep torch's threads from spinning for milliseconds after each operation, in this process.

    They hold the cores that selection works on in between (model/selection.py): a training step
    takes about 8 % longer with two threads. Must run before torch is imported, and leaves alone
    what the environment already says.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
