"""Weights in safetensors: read with suspicion, written whole.

The header is parsed here before the library sees the file, because the library accepts duplicate
names, huge headers and tensors that are not finite.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from pytest_circuits.errors import ModelError, told
from pytest_circuits.system.files import open_regular, parse_json, read_bounded, write_atomic

MAX_HEADER_BYTES = 16 * 2**20
MAX_TENSORS = 100_000
_LENGTH = 8  # bytes of the little-endian header length at the start of the file
# What torch puts into names: compiled, data-parallel and sharded models, checkpointed activations.
_WRAPPERS = {"_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
FLOATS = frozenset({torch.float64, torch.float32, torch.float16, torch.bfloat16})


def read_tensors(path: Path, *, max_bytes: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata of one safetensors file; ModelError on anything out of order.

    Reads the bytes once, so that what is digested is what is evaluated.
    """
    content = read_bounded(path, max_bytes=max_bytes, error=ModelError)
    header = _header(content, path)
    try:
        tensors = load(content)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as cause:
        raise ModelError(f"{path}: not a readable safetensors file: {cause}") from cause
    for name, tensor in tensors.items():
        _check_numbers(name, tensor, path)
    metadata = header.get("__metadata__", {})
    return tensors, metadata if isinstance(metadata, dict) else {}


def _header(content: bytes, path: Path) -> dict[str, Any]:
    if content[:2] in (b"PK", b"\x80\x02", b"\x80\x04"):
        raise ModelError(
            f"{path}: a pickled checkpoint, whatever its name says; pickles are never loaded "
            "because loading one can run any code. Save the weights as safetensors"
        )
    length = int.from_bytes(content[:_LENGTH], "little")
    if len(content) < _LENGTH or length > len(content) - _LENGTH:
        raise ModelError(f"{path}: truncated, or not a safetensors file")
    if length > MAX_HEADER_BYTES:
        raise ModelError(f"{path}: its header of {length} bytes is over {MAX_HEADER_BYTES}")
    header = parse_json(
        content[_LENGTH : _LENGTH + length], source=f"{path} (header)", error=ModelError
    )
    if len(header) > MAX_TENSORS:
        raise ModelError(f"{path}: {len(header)} tensors are over {MAX_TENSORS}")
    return header


def read_header(path: Path) -> dict[str, Any]:
    """What a safetensors file says of its tensors, without these; ModelError as `read_tensors`."""
    with os.fdopen(open_regular(path, error=ModelError), "rb") as file:
        start = file.read(_LENGTH)
        length = int.from_bytes(start, "little")
        content = start + file.read(min(length, MAX_HEADER_BYTES + 1))
    return _header(content, path)


def _check_numbers(name: str, tensor: Tensor, path: Path) -> None:
    if not tensor.is_floating_point():
        return
    if tensor.dtype not in FLOATS:
        raise ModelError(
            f"{path}: tensor {name!r} has type {tensor.dtype}, which needs scales that a model "
            "directory does not hold; save it as float32, float16 or bfloat16"
        )
    if not bool(torch.isfinite(tensor).all()):
        raise ModelError(f"{path}: tensor {name!r} holds NaN or infinity")


def check_shapes(
    tensors: Mapping[str, Tensor],
    shapes: Mapping[str, Sequence[int]],
    source: Path | str,
    *,
    optional: Collection[str] = (),
    config: str = "config.json",
    shared: Mapping[str, Any] | None = None,
) -> None:
    """Every tensor that the architecture has, in its shape, and no other; all faults at once.

    optional: names among the shapes that may be missing. shared: the metadata of a file, in which
    safetensors' `save_model` says under which other name it holds a tensor that shares its memory.
    """
    missing = shapes.keys() - tensors.keys() - set(optional)
    if missing and (why := _wrapped(tensors.keys(), shapes.keys() - set(optional))):
        raise ModelError(f"{source}: {why}")
    problems = [
        f"missing tensor {name!r}{_held_as((shared or {}).get(name), tensors)}"
        for name in sorted(missing)
    ]
    problems += [f"unexpected tensor {name!r}" for name in sorted(tensors.keys() - shapes.keys())]
    for name in sorted(shapes.keys() & tensors.keys()):
        tensor, shape = tensors[name], list(shapes[name])
        if list(tensor.shape) != shape:
            problems.append(f"{name!r} has shape {list(tensor.shape)}, {config} says {shape}")
        elif not tensor.is_floating_point():
            problems.append(f"{name!r} has type {tensor.dtype}, expected a floating-point type")
    if problems:
        shown = "\n".join(f"  {problem}" for problem in told(problems))
        raise ModelError(f"{source}: does not fit {config}:\n{shown}")


def _held_as(other: object, tensors: Mapping[str, Tensor]) -> str:
    if not isinstance(other, str) or other not in tensors:
        return ""
    return f", which shares memory with {other!r}; save a clone of each tensor by `save_file`"


def _wrapped(names: Collection[str], needed: AbstractSet[str]) -> str | None:
    """Which parts of names are too many, where nothing else is wrong with them, and the way out."""
    common = {name.partition(".")[0] for name in names}
    too_many = _WRAPPERS | (common if len(common) == 1 else set())
    inner = {
        name: ".".join(part for part in name.split(".") if part not in too_many) for name in names
    }
    if not needed <= set(inner.values()):
        return None
    name = min(name for name in names if inner[name] != name)
    parts = [part for part in name.split(".") if part in too_many]
    rename = "".join(f".replace('{part}.', '')" for part in parts)
    return (
        f"holds {name!r} for {inner[name]!r}, as a model does that was compiled, data-parallel or "
        "inside another module when it was saved; save it by the names that it has itself: "
        f"{{name{rename}: tensor for name, tensor in model.state_dict().items()}}"
    )


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write a safetensors file whose bytes are a function of its content alone."""
    text = json.dumps(metadata, sort_keys=True)
    contiguous = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    write_atomic(path, save(contiguous, metadata={"pytest_circuits": text}))


def digest_tensors(tensors: Mapping[str, Tensor], *parts: str) -> str:
    """sha256 of names, types, shapes and bytes in the order of the names, and of further texts."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() + b"\0")
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{list(tensor.shape)}\0".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
