"""The weights of a model of transformers: one file of safetensors, or the shards of an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from pytest_circuits.errors import ModelError, told
from pytest_circuits.model.tensor_file import read_header, read_tensors
from pytest_circuits.system.files import parse_json, read_bounded
from pytest_circuits.system.memory import free_memory

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
_MAX_INDEX_BYTES = 2**26
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_PICKLES = {".bin", ".pt", ".pth", ".ckpt"}


@dataclass(frozen=True, slots=True)
class File:
    """A file of tensors; `names` that an index says it holds, if there is one."""

    path: Path
    names: frozenset[str] | None = None


def files_of(path: Path) -> tuple[File, ...]:
    """The files that hold the weights; ModelError where there are none, or one is missing."""
    if (path / INDEX).exists():
        return _shards(path)
    if (path / WEIGHTS).exists():
        return (File(path / WEIGHTS),)
    raise ModelError(f"{path}: has neither {WEIGHTS} nor {INDEX}{_instead(path)}")


def _instead(path: Path) -> str:
    """What else of weights lies there, and the way out."""
    for file in sorted(path.iterdir()):
        if file.suffix == ".gguf":
            return (
                f" ({file.name} is packed: load it in transformers by `gguf_file=` with "
                "`GgufConfig(dequantize=True)`, then `save_pretrained`)"
            )
        if file.name == "adapter_config.json":
            return " (only an adapter of peft lies there: `merge_and_unload`, then save the model)"
        if file.suffix in _PICKLES:
            return (
                f" ({file.name} is a pickled checkpoint, which is never loaded; save the model "
                "again, as safetensors)"
            )
    return ""


def _shards(path: Path) -> tuple[File, ...]:
    content = read_bounded(path / INDEX, max_bytes=_MAX_INDEX_BYTES, error=ModelError)
    said = parse_json(content, source=str(path / INDEX), error=ModelError).get("weight_map")
    if not isinstance(said, dict) or not said:
        raise ModelError(f"{path / INDEX}: lists no tensors ('weight_map')")
    held: dict[str, set[str]] = {}
    for tensor, name in said.items():
        if not isinstance(name, str) or Path(name).name != name or "\\" in name:
            raise ModelError(f"{path / INDEX}: {name!r} is not the name of a file beside it")
        held.setdefault(name, set()).add(tensor)
    if missing := sorted(name for name in held if not (path / name).exists()):
        raise ModelError(
            f"{path}: {', '.join(told(missing))} missing, of {len(held)} shards that {INDEX} lists"
        )
    return tuple(File(path / name, frozenset(names)) for name, names in sorted(held.items()))


def check_memory(
    path: Path, files: Sequence[File], *, each: int = 8, to: str = "to be loaded as float32"
) -> None:
    """ModelError, before anything is loaded, where the model would not fit.

    each: bytes of a number. To be loaded: as float32, and once more as the model takes it over.
    """
    free = free_memory()
    if free is None:
        return
    numbers = sum(
        _size(entry) // _BYTES.get(str(entry.get("dtype")), 1)
        for file in files
        for name, entry in read_header(file.path).items()
        if name != "__metadata__" and isinstance(entry, dict)
    )
    largest = max(file.path.stat().st_size for file in files)
    needed = each * numbers + 2 * largest  # the bytes of a file are there twice
    if needed > free:
        raise ModelError(
            f"{path}: does not fit into memory: {numbers:,} numbers need about "
            f"{needed / 2**30:.1f} GiB {to}, and {free / 2**30:.1f} GiB are free"
        )


def _size(entry: dict[str, object]) -> int:
    match entry.get("data_offsets"):
        case [int(begin), int(end)]:
            return end - begin
    return 0


def read_weights(path: Path, files: Sequence[File]) -> dict[str, Tensor]:
    """All tensors by name; ModelError where a shard does not hold what the index says."""
    found: dict[str, Tensor] = {}
    for file in files:
        tensors, _ = read_tensors(file.path, max_bytes=file.path.stat().st_size)
        if file.names is not None and (odd := sorted(file.names ^ tensors.keys())):
            where = "has not got" if odd[0] in file.names else "holds, and the index does not list,"
            raise ModelError(f"{file.path}: {where} the tensor {odd[0]!r} ({path / INDEX})")
        found |= tensors
    if not found:
        raise ModelError(f"{path}: its weights hold no tensors")
    return found
