"""An adapter of peft that is not merged: added to the weights of its base model, as merging does.

Hu et al. 2021, LoRA, section 4.1: a weight W becomes W + B A scale, with A [r, in] and B [out, r].
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pytest_circuits.errors import ModelError
from pytest_circuits.model.huggingface.anatomy import Library
from pytest_circuits.model.tensor_file import digest_tensors, read_tensors
from pytest_circuits.spec.problems import quoted
from pytest_circuits.system.files import parse_json, read_bounded

SETTINGS, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_MAX_BYTES = 2**22  # of the settings
_MOST_ALPHA = 1e308
_PREFIX, _A, _B = "base_model.model.", ".lora_A.weight", ".lora_B.weight"
_MERGE = "merge it where it was trained: merge_and_unload(), then save_pretrained"
# What says where and how it was trained, or is read below; anything else has to be turned off.
_KNOWN = {
    *("auto_mapping", "base_model_name_or_path", "fan_in_fan_out", "inference_mode", "revision"),
    *("init_lora_weights", "lora_alpha", "lora_dropout", "megatron_core", "peft_type", "r"),
    *("peft_version", "target_modules", "task_type", "use_rslora", "exclude_modules"),
    *("layers_pattern", "layers_to_transform", "rank_pattern", "qalora_group_size"),
}
_LEAVES_BASE = (True, False, "gaussian", "orthogonal")  # ways to begin that leave the base as it is


@dataclass(frozen=True, slots=True)
class Adapter:
    """What is added to the weights of a base model."""

    path: Path
    base: Path
    alpha: float
    by_root: bool  # of the rank: the scale is alpha / sqrt(r)
    pairs: Mapping[str, tuple[Tensor, Tensor]] = field(repr=False)  # A and B by name of the module

    @property
    def digest(self) -> str:
        """sha256 of all that it adds."""
        tensors = {f"{name}{end}": x for name, ab in self.pairs.items() for end, x in zip("AB", ab)}  # noqa: B905  (two)
        return digest_tensors(tensors, f"{self.alpha} {self.by_root}")

    @torch.no_grad()
    def merge_into(self, module: Library) -> None:
        """Add it to a decoder; ModelError where a part is not there, or of another shape."""
        parts = dict(module.named_modules())
        embedding = module.get_input_embeddings().weight
        for name, (a, b) in self.pairs.items():
            part = parts.get(name)
            weight: Any = getattr(part, "weight", None)
            if not isinstance(weight, Tensor) or isinstance(part, nn.Embedding):
                raise self._wrong(f"adds to {quoted(name)}, which is no linear map of {self.base}")
            if weight is embedding:
                raise self._wrong(f"adds to {quoted(name)}, whose weights are the embedding's too")
            added = (b.float() @ a.float()) * (self.alpha / self._divisor(len(a)))  # [out, in]
            if not isinstance(part, nn.Linear):  # Conv1D has its weight the other way round
                added = added.T
            if added.shape != weight.shape:
                raise self._wrong(
                    f"adds {list(added.shape)} to {quoted(name)}, which is {list(weight.shape)} in "
                    f"{self.base}"
                )
            weight += added

    def _divisor(self, rank: int) -> float:
        return math.sqrt(rank) if self.by_root else rank

    def _wrong(self, problem: str) -> ModelError:
        return ModelError(f"{self.path / WEIGHTS}: {problem}; {_MERGE}")


def refuse_both(path: Path) -> None:
    """Raise ModelError where a directory holds a model and an adapter: which is meant, is unsaid.

    What transformers makes of it depends on whether peft is installed.
    """
    if (path / SETTINGS).exists() and (path / "config.json").exists():
        raise ModelError(
            f"{path}: holds a whole model (config.json) and an adapter ({SETTINGS}), and does not "
            "say whether one is to be added to the other; give each a directory of its own, or "
            f"delete {SETTINGS} where it is merged already"
        )


def is_adapter(path: Path) -> bool:
    """Whether only an adapter lies in a directory, and no model."""
    return (path / SETTINGS).is_file() and not (path / "config.json").exists()


def read_adapter(path: Path) -> Adapter:
    """Read an adapter; ModelError where it is one that merging alone makes weights of."""
    file = path / SETTINGS
    content = read_bounded(file, max_bytes=_MAX_BYTES, error=ModelError)
    said = parse_json(content, source=str(file), error=ModelError)
    if said.get("peft_type") != "LORA":
        raise ModelError(f"{file}: is of type {said.get('peft_type')!r}, and not LORA; {_MERGE}")
    for key, value in said.items():
        if key not in _KNOWN and value and value != "none":
            raise ModelError(f"{file}: {quoted(key)} is on, and adds more than B A; {_MERGE}")
    if said.get("init_lora_weights", True) not in _LEAVES_BASE:
        raise ModelError(
            f"{file}: 'init_lora_weights' is {said['init_lora_weights']!r}, which may have changed "
            f"the base model as well; {_MERGE}"
        )
    alpha = said.get("lora_alpha")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float):
        raise ModelError(f"{file}: 'lora_alpha' is no number")
    if not -_MOST_ALPHA < alpha < _MOST_ALPHA:
        raise ModelError(f"{file}: 'lora_alpha' is no finite number")
    by_root = said.get("use_rslora") or False
    if by_root is not True and by_root is not False:
        raise ModelError(f"{file}: 'use_rslora' is {by_root!r}, and should be true or false")
    return Adapter(path, _base(file, said), float(alpha), by_root, _pairs(path / WEIGHTS))


def _base(file: Path, said: Mapping[str, Any]) -> Path:
    """The directory of the base model, as it is written or beside the adapter."""
    name = said.get("base_model_name_or_path")
    for place in (Path(str(name)), file.parent / str(name)):
        if name and os.path.isfile(place / "config.json"):  # noqa: PTH113  (bears any name)
            return place
    raise ModelError(
        f"{file}: is an adapter for {quoted(str(name))}, which is no model directory here; write "
        f"the path of one into 'base_model_name_or_path', or {_MERGE}"
    )


def _pairs(file: Path) -> dict[str, tuple[Tensor, Tensor]]:
    if not file.exists():
        raise ModelError(f"{file.parent}: has no {WEIGHTS} (pickles are never loaded)")
    tensors, _ = read_tensors(file, max_bytes=file.stat().st_size)
    found = {}
    for key, a in sorted(tensors.items()):
        name, other = key.removesuffix(_A), tensors.get(f"{key.removesuffix(_A)}{_B}")
        if key.endswith(_B) and f"{key.removesuffix(_B)}{_A}" in tensors:
            continue
        if not key.startswith(_PREFIX) or other is None or name == key:
            raise ModelError(f"{file}: {quoted(key)} is no half of a pair of LoRA; {_MERGE}")
        if a.dim() != 2 or other.dim() != 2 or len(a) != other.shape[1] or not len(a):
            shapes = f"{list(a.shape)} and {list(other.shape)}"
            raise ModelError(f"{file}: {quoted(name)} has A and B of {shapes}, which do not fit")
        found[name.removeprefix(_PREFIX)] = (a, other)
    if not found:
        raise ModelError(f"{file}: holds no tensors")
    return found
