"""One process a folder of state: a lock of the system, which no killed process leaves behind."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytest_circuits.errors import UsageError
from pytest_circuits.system.files import parse_json, read_bounded

NAME = "lock"
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_MAX_BYTES = 2**12

if sys.platform == "win32":
    import msvcrt

    _BYTE = 2**30  # the byte that is locked, beyond the text, which others could not read otherwise

    def _take(descriptor: int) -> None:
        os.lseek(descriptor, _BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _take(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def hold(folder: Path, *, doing: str = "training", option: str = "--out") -> Iterator[None]:
    """Keep every other process out of a folder of state; UsageError if one is in it.

    The file stays when the lock is gone, unless the holder removes it while it holds the lock.

    Args:
        folder: is made if it is not there.
        doing: what the holder does here, for the message that another process gets.
        option: what puts the folder elsewhere.

    """
    path = folder / NAME
    descriptor = _taken(path, doing=doing, option=option)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(_holder(), sort_keys=True).encode())
        yield
    finally:
        os.close(descriptor)  # this releases the lock


def _taken(path: Path, *, doing: str, option: str) -> int:
    """A descriptor of the file, locked."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as cause:
            raise UsageError(
                f"{path.parent}: cannot be written: {cause.strerror}; the state of the run is kept "
                f"there, so name an {option} in a folder that can be"
            ) from cause
        try:
            _take(descriptor)
            if _is_still(path, descriptor):
                return descriptor
        except (BlockingIOError, PermissionError) as cause:  # the latter on Windows
            os.close(descriptor)
            raise UsageError(_held(path, doing=doing, option=option)) from cause
        except OSError as cause:
            os.close(descriptor)
            raise UsageError(
                f"{path}: cannot be locked: {cause.strerror}; put {option} on a file system that "
                "has locks"
            ) from cause
        os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the file that was locked is the one there: its last holder may have removed it."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _holder() -> dict[str, Any]:
    """Who we are, for the message that another process gets."""
    boot = _BOOT.read_text(encoding="ascii").strip() if _BOOT.is_file() else ""
    return {"boot": boot, "host": socket.gethostname(), "pid": os.getpid()}


def _held(path: Path, *, doing: str, option: str) -> str:
    try:
        content = read_bounded(path, max_bytes=_MAX_BYTES, error=UsageError)
        holder = parse_json(content, source=str(path), error=UsageError)
        who = f"pid {int(holder['pid'])} on {holder['host']}"
    except (UsageError, KeyError, TypeError, ValueError):  # it is just being written
        who = "a process that has not said who it is"
    return (
        f"{path.parent}: another run is {doing} here: {who}; wait until it ends or stop it, "
        f"or name another {option}"
    )
