"""What a checkpoint is on disk, and whether it is whole.

    run/checkpoint-00001200/tensors.safetensors     weights, moments of the optimizer
                            state.json              the step, and what else is not a tensor
                            MANIFEST.json           size and sha256 of both, written last

Names that begin with a dot are not checkpoints, but for one: a whole checkpoint that another of the
same step replaces waits as `.checkpoint-00001200.aside` until that one is in place.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors.torch import save
from torch import Tensor

from pytest_circuits.errors import CircuitsError
from pytest_circuits.model.tensor_file import read_tensors
from pytest_circuits.system.files import parse_json, read_bounded

MANIFEST = "MANIFEST.json"
_TENSORS, _STATE = "tensors.safetensors", "state.json"
_STORED = re.compile(r"checkpoint-([0-9]{8,})|\.checkpoint-([0-9]{8,})\.aside")
_STEP = re.compile(r"checkpoint-([0-9]{8,})")
_MAX_MANIFEST_BYTES = 2**16
_FLOATS = frozenset({torch.float64, torch.float32, torch.float16, torch.bfloat16})


class CheckpointError(CircuitsError):
    """A checkpoint that cannot be written or is damaged."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything that training needs to go on after `step` steps."""

    step: int
    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]  # JSON


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class _File(_Strict):
    size: Annotated[int, Field(ge=0)]
    sha256: str

    @staticmethod
    def of(content: bytes) -> _File:
        return _File(size=len(content), sha256=hashlib.sha256(content).hexdigest())


class Manifest(_Strict):
    """What the other files of a checkpoint are."""

    format: Literal[1] = 1
    step: int
    files: dict[str, _File]

    @staticmethod
    def of(step: int, contents: Mapping[str, bytes]) -> Manifest:
        """Describe files by their content."""
        files = {name: _File.of(content) for name, content in contents.items()}
        return Manifest(step=step, files=files)


def contents_of(checkpoint: Checkpoint) -> dict[str, bytes]:
    """Content of the files; CheckpointError for a state that nobody should go on from."""
    tensors = {
        name: checkpoint.tensors[name].detach().cpu().contiguous()
        for name in sorted(checkpoint.tensors)
    }
    unsaved = f"step {checkpoint.step} is not saved"
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            continue
        if tensor.dtype not in _FLOATS:
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
    return {_TENSORS: save(tensors), _STATE: text.encode()}


def stored(folder: Path) -> list[Path]:
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


def whole(path: Path) -> Manifest | None:
    """The manifest of a checkpoint whose files are all what it says; else None."""
    try:
        return check(path)
    except CheckpointError:
        return None


def check(path: Path) -> Manifest:
    """Read the manifest of a whole checkpoint; CheckpointError says why one is not whole."""
    source = path / MANIFEST
    parsed = parse_json(
        _content(source, most=_MAX_MANIFEST_BYTES), source=str(source), error=CheckpointError
    )
    try:
        manifest = Manifest.model_validate(parsed)
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


def read(path: Path) -> Checkpoint:
    """Read a whole checkpoint; CheckpointError or ModelError says why one is not whole."""
    manifest = check(path)
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
