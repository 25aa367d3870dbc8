"""Opening a user's files: regular ones only, so that a pipe or a device never hangs the trainer."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from pytest_circuits.errors import UsageError

MAX_DOCUMENT = 64 * 2**20  # bytes; a document is held in memory while it is encoded


def open_regular(path: Path, *, follow: bool = True) -> BinaryIO:
    """Open a regular file to read its bytes; `follow=False` refuses a link in its last place."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags if follow else flags | getattr(os, "O_NOFOLLOW", 0))
    except OSError as cause:
        raise UsageError(f"{path}: cannot be read: {cause.strerror}") from cause
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UsageError(f"{path}: not a regular file")
    return os.fdopen(descriptor, "rb")
