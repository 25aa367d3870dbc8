"""One trainer a run folder: a lock of the system, which no killed process leaves behind."""

from __future__ import annotations

import json
import os
import socket
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_circuits.errors import UsageError
from pytest_circuits.files import parse_json, read_bounded

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = "lock"
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
def hold(folder: Path) -> Iterator[None]:
    """Keep every other trainer out of a run folder; UsageError if one is in it.

    The file stays when the lock is gone: to delete it could delete that of the next holder.
    """
    path = folder / _NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as cause:
        raise UsageError(
            f"{folder}: cannot be written: {cause.strerror}; the state of the run is kept there, "
            "so name an --out in a folder that can be"
        ) from cause
    try:
        try:
            _take(descriptor)
        except (BlockingIOError, PermissionError) as cause:  # the latter on Windows
            raise UsageError(_held(path)) from cause
        except OSError as cause:
            raise UsageError(
                f"{path}: cannot be locked: {cause.strerror}; put --out on a file system that "
                "has locks"
            ) from cause
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(_holder(), sort_keys=True).encode())
        yield
    finally:
        os.close(descriptor)  # this releases the lock


def _holder() -> dict[str, Any]:
    """Who we are, for the message that another trainer gets."""
    boot = _BOOT.read_text(encoding="ascii").strip() if _BOOT.is_file() else ""
    return {"boot": boot, "host": socket.gethostname(), "pid": os.getpid()}


def _held(path: Path) -> str:
    try:
        content = read_bounded(path, max_bytes=_MAX_BYTES, error=UsageError)
        holder = parse_json(content, source=str(path), error=UsageError)
        who = f"pid {int(holder['pid'])} on {holder['host']}"
    except (UsageError, KeyError, TypeError, ValueError):  # it is just being written
        who = "a process that has not said who it is"
    return (
        f"{path.parent}: another run is training here: {who}; wait until it ends or stop it, "
        "or name another --out"
    )
