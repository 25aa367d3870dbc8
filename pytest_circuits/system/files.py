"""Reading files that may be hostile, and writing files that appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from pytest_circuits.errors import CircuitsError, UsageError

_CHUNK = 2**26  # bytes a write; systems have a limit
_SHOWN = 60  # characters of a key
_witness: ContextVar[set[tuple[Path, str]] | None] = ContextVar("_witness", default=None)


@contextmanager
def witnessed() -> Iterator[set[tuple[Path, str]]]:
    """Path and sha256 of all that `read_bounded` gives out meanwhile, of the very bytes.

    A file that changed between two reads is there with both digests.
    """
    seen: set[tuple[Path, str]] = set()
    token = _witness.set(seen)
    try:
        yield seen
    finally:
        _witness.reset(token)


def open_regular(path: Path, *, error: type[CircuitsError], follow: bool = True) -> int:
    """Descriptor of a regular file, so that a pipe or a device never makes anybody wait.

    `follow=False` refuses a link in the last place of the path, too.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags if follow else flags | getattr(os, "O_NOFOLLOW", 0))
    except (OSError, ValueError) as cause:  # ValueError: a NUL in the path
        why = cause.strerror if isinstance(cause, OSError) else cause
        raise error(f"{path}: cannot be read: {why}") from cause
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise error(f"{path}: not a regular file")
    return descriptor


def read_bounded(path: Path, *, max_bytes: int, error: type[CircuitsError]) -> bytes:
    """Content of a regular file of at most that many bytes; anything else raises `error`."""
    with os.fdopen(open_regular(path, error=error), "rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise error(f"{path}: larger than {max_bytes} bytes, more than it can need")
    if (seen := _witness.get()) is not None:
        seen.add((path, hashlib.sha256(content).hexdigest()))
    return content


def parse_json(content: bytes, *, source: str, error: type[CircuitsError]) -> dict[str, Any]:
    """A JSON object without duplicate keys or numbers that are not finite."""

    def refuse(constant: str) -> None:
        raise error(f"{source}: {constant} is not a number that JSON has")

    parsed = parse_any_json(content, source=source, error=error, constant=refuse)
    if not isinstance(parsed, dict):
        raise error(f"{source}: expected a JSON object, got {type(parsed).__name__}")
    return parsed


def parse_any_json(
    content: bytes,
    *,
    source: str,
    error: type[CircuitsError],
    constant: Callable[[str], object] = float,
) -> Any:  # noqa: ANN401  (whatever a file holds)
    """JSON of any kind without duplicate keys; constant: what NaN and Infinity become."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = Counter(name for name, _ in pairs)
            twice = next(name for name in names if names[name] > 1)
            raise error(f"{source}: the key {twice[:_SHOWN]!r} stands twice")
        return found

    try:
        return json.loads(content, object_pairs_hook=unique, parse_constant=constant)
    except (ValueError, RecursionError) as cause:
        raise error(f"{source}: not JSON: {cause}") from cause


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


def write_synced(path: Path, content: bytes) -> None:
    """Write a new file and wait until the disk has it; a part of it is left on an error."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o666)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest[:_CHUNK]) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Wait until the disk has the names in a folder, where the system can do that."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as cause:
        if cause.errno not in (errno.EINVAL, errno.EBADF):  # a file system without it
            raise
    finally:
        os.close(descriptor)


def check_free(target: Path) -> None:
    """UsageError where something would be overwritten: `target` may be an empty directory."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(
            f"{target}: is there and not an empty directory; name a new one, nothing is overwritten"
        )


@contextmanager
def whole_directory(target: Path) -> Iterator[Path]:
    """A folder beside `target` that takes its place at the end; an error or a signal removes it.

    `target` may be there as long as it is empty. What a killed process left is removed first.
    """
    unfinished = target.with_name(f".{target.name}.unfinished")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir()
        yield unfinished
        sync_folder(unfinished)
        if target.is_dir():
            target.rmdir()
        unfinished.rename(target)
        sync_folder(target.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
