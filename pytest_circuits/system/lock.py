"""One process a folder of state: a lock of the system, which no killed process leaves behind."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pytest_circuits.errors import UsageError
from pytest_circuits.system.files import parse_json, read_bounded

NAME = "lock"  # who holds it; beside it lies `.lock`, which Windows lets nobody read who does not
_PATIENCE = 0.2  # seconds: the last holder may be removing the folder
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_MAX_BYTES = 2**12


@contextmanager
def hold(folder: Path, *, doing: str = "training", option: str = "--out") -> Iterator[None]:
    """Keep every other process out of a folder of state, made if need be; UsageError if one is in.

    The files stay when the lock is gone, unless the holder removes them while it holds the lock.
    Another process is told what the holder is `doing`, and which option puts the folder elsewhere.
    """
    # Where a file system has no locks, a file that is just there would outlive a killed process.
    lock = FileLock(folder / f".{NAME}", timeout=_PATIENCE, fallback_to_soft=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (NAME, f".{NAME}"):
            os.close(os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o666))
    except OSError as cause:
        raise UsageError(
            f"{folder}: cannot be written: {cause.strerror}; the state of the run is kept "
            f"there, so name an {option} in a folder that can be"
        ) from cause
    try:
        lock.acquire()
    except Timeout as cause:
        raise UsageError(
            f"{folder}: another run is {doing} here: {_holder(folder)}; wait until it ends or "
            f"stop it, or name another {option}"
        ) from cause
    except OSError as cause:
        raise UsageError(
            f"{folder / NAME}: cannot be locked: {cause.strerror}; put {option} on a file system "
            "that has locks"
        ) from cause
    try:
        boot = _BOOT.read_text(encoding="ascii").strip() if _BOOT.is_file() else ""
        ourselves = {"boot": boot, "host": socket.gethostname(), "pid": os.getpid()}
        (folder / NAME).write_text(json.dumps(ourselves), encoding="ascii")
        yield
    finally:
        lock.release()


def _holder(folder: Path) -> str:
    try:
        content = read_bounded(folder / NAME, max_bytes=_MAX_BYTES, error=UsageError)
        holder = parse_json(content, source=NAME, error=UsageError)
        return f"pid {int(holder['pid'])} on {holder['host']}"
    except (UsageError, KeyError, TypeError, ValueError):  # it is just being written
        return "a process that has not said who it is"
