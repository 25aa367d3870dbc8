"""Reading files that may be hostile, and writing files that appear whole or not at all."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_circuits.errors import CircuitsError


def read_bounded(path: Path, *, max_bytes: int, error: type[CircuitsError]) -> bytes:
    """Content of a regular file of at most that many bytes; anything else raises `error`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError) as cause:  # ValueError: a NUL in the path
        why = cause.strerror if isinstance(cause, OSError) else cause
        raise error(f"{path}: cannot be read: {why}") from cause
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise error(f"{path}: not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise error(f"{path}: larger than {max_bytes} bytes, more than it can need")
    return content


def parse_json(content: bytes, *, source: str, error: type[CircuitsError]) -> dict[str, Any]:
    """A JSON object without duplicate keys or numbers that are not finite."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise error(f"{source}: the key {key!r} stands twice")
            found[key] = value
        return found

    def refuse(constant: str) -> None:
        raise error(f"{source}: {constant} is not a number that JSON has")

    try:
        parsed = json.loads(content, object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as cause:
        raise error(f"{source}: not JSON: {cause}") from cause
    if not isinstance(parsed, dict):
        raise error(f"{source}: expected a JSON object, got {type(parsed).__name__}")
    return parsed


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
