"""Checkpoints of long work: saved whole or not at all, and the newest whole one read.

    run/checkpoint-00001200/tensors.safetensors     weights, moments of the optimizer
                            state.json              the step, and what else is not a tensor
                            MANIFEST.json           size and sha256 of both, written last

One is written beside its place, synced to the disk, read back and renamed. Names that begin with a
dot are not checkpoints, but for one: a whole checkpoint that another of the same step replaces
waits as `.checkpoint-00001200.aside` until that one is in place.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, ValidationError
from safetensors.torch import save as to_safetensors
from torch import Tensor

from pytest_circuits.errors import CircuitsError, ModelError
from pytest_circuits.model.tensor_file import FLOATS, read_tensors
from pytest_circuits.spec.frozen import Frozen
from pytest_circuits.system.files import parse_json, read_bounded, sync_folder, write_synced

_MANIFEST = "MANIFEST.json"
_TENSORS, _STATE = "tensors.safetensors", "state.json"
_STORED = re.compile(r"checkpoint-([0-9]{8,})|\.checkpoint-([0-9]{8,})\.aside")
_STEP = re.compile(r"checkpoint-([0-9]{8,})")
_MAX_MANIFEST_BYTES = 2**16
_HEADROOM = 1.05  # of the bytes to write: what the file system needs beside them
_FULL = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})


class CheckpointError(CircuitsError):
    """A checkpoint that cannot be written or is damaged."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything that long work needs to go on after `step` steps."""

    step: int
    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]  # JSON


def save(
    folder: Path, checkpoint: Checkpoint, *, keep: int, continues: str = "--resume continues"
) -> Path:
    """Write a checkpoint, and then delete all but it and the newest others, `keep` in all.

    The others are only touched once this one has been read back from the disk and is in place.
    What `continues` from the last good one is said where this one is not saved.
    """
    contents = _contents_of(checkpoint)
    target = folder / f"checkpoint-{checkpoint.step:08d}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _clear(folder, "*.tmp")
        _write(target, checkpoint.step, contents)
    except OSError as cause:
        needed = _HEADROOM * sum(map(len, contents.values()))
        why = _not_saved(target, cause, needed=needed, continues=continues)
        raise CheckpointError(why) from cause
    _prune(folder, target, keep=keep)
    return target


def newest(folder: Path, *, say: Callable[[str], None]) -> Checkpoint | None:
    """Read the newest whole checkpoint; says which newer ones are damaged, and how."""
    for path in _stored(folder):
        try:
            return _read(path)
        except (CheckpointError, ModelError) as cause:
            say(f"{path.name} is damaged and passed over: {cause}")
    return None


class _File(Frozen):
    size: Annotated[int, Field(ge=0)]
    sha256: str

    @staticmethod
    def of(content: bytes) -> _File:
        return _File(size=len(content), sha256=hashlib.sha256(content).hexdigest())


class _Manifest(Frozen):
    """What the other files of a checkpoint are."""

    format: Literal[1] = 1
    step: int
    files: dict[str, _File]


def _contents_of(checkpoint: Checkpoint) -> dict[str, bytes]:
    """Content of the files; CheckpointError for a state that nobody should go on from."""
    tensors = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in sorted(checkpoint.tensors.items())
    }
    unsaved = f"step {checkpoint.step} is not saved"
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            continue
        if tensor.dtype not in FLOATS:
            raise CheckpointError(f"{unsaved}: {name!r} has type {tensor.dtype}")
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"{unsaved}: {name!r} holds NaN or infinity; lower optimizer.lr and go on from "
                "an earlier checkpoint"
            )
    document = {"state": checkpoint.state, "step": checkpoint.step}
    try:
        text = json.dumps(document, sort_keys=True, allow_nan=False)
    except ValueError as cause:
        raise CheckpointError(f"{unsaved}: its state: {cause}") from cause
    return {_TENSORS: to_safetensors(tensors), _STATE: text.encode()}


def _stored(folder: Path) -> list[Path]:
    """Where checkpoints are, or damaged ones, the newest first."""
    try:
        names = [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []
    except OSError as cause:
        raise CheckpointError(f"{folder}: cannot be listed: {cause.strerror}") from cause
    matches = [match for name in names if (match := _STORED.fullmatch(name))]
    # Of one step, the one in place comes before the one aside: "c" is after ".".
    matches.sort(key=lambda match: (int(match[1] or match[2]), match[0]), reverse=True)
    return [folder / match[0] for match in matches]


def _whole(path: Path) -> _Manifest | None:
    try:
        return _check(path)
    except CheckpointError:
        return None


def _check(path: Path) -> _Manifest:
    """Read the manifest of a whole checkpoint; CheckpointError says why one is not whole."""
    source = path / _MANIFEST
    content = _content(source, most=_MAX_MANIFEST_BYTES)
    parsed = parse_json(content, source=str(source), error=CheckpointError)
    try:
        manifest = _Manifest.model_validate(parsed)
    except ValidationError as cause:
        raise CheckpointError(f"{source}: not a manifest: {cause.errors()[0]['msg']}") from cause
    named = _STEP.search(path.name)
    if named is None or manifest.step != int(named[1]):
        raise CheckpointError(f"{source}: the manifest of another checkpoint, step {manifest.step}")
    if manifest.files.keys() != {_TENSORS, _STATE}:
        raise CheckpointError(f"{source}: names other files than a checkpoint has")
    for name, written in manifest.files.items():
        found = _File.of(_content(path / name))
        if found.size != written.size:
            raise CheckpointError(f"{path / name}: {found.size} bytes, {written.size} were written")
        if found != written:
            raise CheckpointError(f"{path / name}: its sha256 is not that of what was written")
    return manifest


def _read(path: Path) -> Checkpoint:
    """Read a whole checkpoint; CheckpointError or ModelError says why one is not whole."""
    manifest = _check(path)
    source = path / _STATE
    document = parse_json(_content(source), source=str(source), error=CheckpointError)
    state = document.get("state")
    if document.get("step") != manifest.step or not isinstance(state, dict):
        raise CheckpointError(f"{source}: not the state of step {manifest.step}")
    tensors, _ = read_tensors(path / _TENSORS, max_bytes=manifest.files[_TENSORS].size)
    return Checkpoint(step=manifest.step, tensors=tensors, state=state)


def _content(path: Path, *, most: int | None = None) -> bytes:
    try:
        size = path.stat().st_size
        return read_bounded(path, max_bytes=size if most is None else most, error=CheckpointError)
    except OSError as cause:
        raise CheckpointError(f"{path}: cannot be read: {cause.strerror}") from cause


def _write(target: Path, step: int, contents: Mapping[str, bytes]) -> None:
    """Bring a checkpoint to its place; OSError if that fails at any point."""
    files = {name: _File.of(content) for name, content in contents.items()}
    manifest = _Manifest(step=step, files=files)
    if _whole(target) == manifest:
        return
    if shutil.disk_usage(target.parent).free < _HEADROOM * sum(map(len, contents.values())):
        raise OSError(errno.ENOSPC, "too little room")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.mkdir()
        for name, content in contents.items():
            write_synced(temporary / name, content)
        write_synced(temporary / _MANIFEST, manifest.model_dump_json(indent=1).encode())
        sync_folder(temporary)
        if _whole(temporary) != manifest:
            raise OSError(errno.EIO, "what was read back is not what was written")  # noqa: TRY301
        _make_way(target)
        temporary.rename(target)
        sync_folder(target.parent)
    except BaseException:
        _remove(temporary)
        raise


def _make_way(target: Path) -> None:
    """Empty the place of a checkpoint; a whole one that is there can still be found."""
    if _whole(target) is None:
        _discard(target)
        return
    aside = target.with_name(f".{target.name}.aside")
    _discard(aside)
    target.rename(aside)


def _not_saved(target: Path, cause: OSError, *, needed: float, continues: str) -> str:
    """What went wrong, and where the work can go on."""
    why = cause.strerror or str(cause)
    if cause.errno in _FULL:
        why = f"the disk is full: {needed / 1e6:,.1f} MB needed"
        with suppress(OSError):
            why += f", {shutil.disk_usage(target.parent).free / 1e6:,.1f} MB free"
    good = next((path.name for path in _stored(target.parent) if _whole(path) is not None), None)
    if good is None:
        return f"{target}: not saved: {why}; no earlier checkpoint is there"
    kept = f"the last good checkpoint, {good}, is kept, and {continues} from it"
    return f"{target}: not saved: {why}; {kept}"


def _prune(folder: Path, saved: Path, *, keep: int) -> None:
    """Delete what is no longer needed; what cannot be deleted now is left to the next time."""
    others = [path for path in _stored(folder) if path != saved and path.name[0] != "."]
    good = (path for path in others if _whole(path) is not None)
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
