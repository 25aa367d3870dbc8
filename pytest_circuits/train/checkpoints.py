"""Checkpoints of a training run: saved whole or not at all, and the newest whole one read.

A checkpoint is written beside its place, synced to the disk, read back and renamed. What the files
are is said in `checkpoint_files`.
"""

from __future__ import annotations

import errno
import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path

from pytest_circuits.errors import ModelError
from pytest_circuits.system.files import sync_folder, write_synced
from pytest_circuits.train.checkpoint_files import (
    MANIFEST,
    Checkpoint,
    CheckpointError,
    Manifest,
    contents_of,
    read,
    stored,
    whole,
)

__all__ = ["Checkpoint", "CheckpointError", "newest", "save"]

_HEADROOM = 1.05  # of the bytes to write: what the file system needs beside them
_FULL = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})


def save(folder: Path, checkpoint: Checkpoint, *, keep: int) -> Path:
    """Write a checkpoint, and then delete all but it and the newest others, `keep` in all.

    The others are only touched once this one has been read back from the disk and is in place.
    """
    contents = contents_of(checkpoint)
    target = folder / f"checkpoint-{checkpoint.step:08d}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _clear(folder, "*.tmp")
        _write(target, checkpoint.step, contents)
    except OSError as cause:
        needed = sum(map(len, contents.values()))
        raise CheckpointError(_not_saved(target, cause, needed=needed)) from cause
    _prune(folder, target, keep=keep)
    return target


def newest(folder: Path, *, say: Callable[[str], None]) -> Checkpoint | None:
    """Read the newest whole checkpoint; says which newer ones are damaged, and how."""
    for path in stored(folder):
        try:
            return read(path)
        except (CheckpointError, ModelError) as cause:
            say(f"{path.name} is damaged and passed over: {cause}")
    return None


def _write(target: Path, step: int, contents: Mapping[str, bytes]) -> None:
    """Bring a checkpoint to its place; OSError if that fails at any point."""
    manifest = Manifest.of(step, contents)
    if whole(target) == manifest:
        return
    if shutil.disk_usage(target.parent).free < _HEADROOM * sum(map(len, contents.values())):
        raise OSError(errno.ENOSPC, "too little room")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.mkdir()
        for name, content in contents.items():
            write_synced(temporary / name, content)
        write_synced(temporary / MANIFEST, manifest.model_dump_json(indent=1).encode())
        sync_folder(temporary)
        _read_back(temporary, manifest)
        _make_way(target)
        temporary.rename(target)
        sync_folder(target.parent)
    except BaseException:
        _remove(temporary)
        raise


def _read_back(path: Path, written: Manifest) -> None:
    if whole(path) != written:
        raise OSError(errno.EIO, "what was read back is not what was written")


def _make_way(target: Path) -> None:
    """Empty the place of a checkpoint; a whole one that is there can still be found."""
    if whole(target) is None:
        _discard(target)
        return
    aside = target.with_name(f".{target.name}.aside")
    _discard(aside)
    target.rename(aside)


def _not_saved(target: Path, cause: OSError, *, needed: int) -> str:
    """What went wrong, and where training can go on."""
    why = cause.strerror or str(cause)
    if cause.errno in _FULL:
        why = f"the disk is full: {_HEADROOM * needed / 1e6:,.1f} MB needed"
        with suppress(OSError):
            why += f", {shutil.disk_usage(target.parent).free / 1e6:,.1f} MB free"
    good = next((path.name for path in stored(target.parent) if whole(path) is not None), None)
    if good is None:
        return f"{target}: not saved: {why}; no earlier checkpoint is there"
    return (
        f"{target}: not saved: {why}; the last good checkpoint, {good}, is kept, "
        "and --resume continues from it"
    )


def _prune(folder: Path, saved: Path, *, keep: int) -> None:
    """Delete what is no longer needed; what cannot be deleted now is left to the next time."""
    others = [path for path in stored(folder) if path != saved and path.name[0] != "."]
    good = (path for path in others if whole(path) is not None)
    kept = set(islice(good, max(keep - 1, 0)))
    for path in others:
        if path not in kept:
            with suppress(OSError):
                _discard(path)
    _clear(folder, "*")


def _discard(path: Path) -> None:
    """Delete in such a way that an interrupted deletion leaves nothing like a checkpoint."""
    gone = path.with_name(f".{path.name.removeprefix('.')}.{secrets.token_hex(4)}.tmp")
    with suppress(FileNotFoundError):
        path.rename(gone)
    _remove(gone)


def _clear(folder: Path, pattern: str) -> None:
    for path in folder.glob(f".checkpoint-{pattern}"):
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(OSError):
        path.unlink(missing_ok=True)
