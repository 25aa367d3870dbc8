"""Weights of int8, as bitsandbytes and torchao save them: the numbers that they stand for.

    bitsandbytes  X.weight int8 [out, in], X.SCB [out], the largest of each row:
                  W = weight * SCB / 127
    torchao       X._weight_qdata int8 [out, in], X._weight_scale and X._weight_zero_point [out, g],
                  one for each of g groups of a row: W = (qdata - zero_point) * scale

What they do to activations while they run is theirs, and is not evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pytest_circuits.errors import ModelError

KEY = "quantization_config"
_SCALES, _LAYOUT = ".SCB", ".weight_format"
_NUMBERS, _SCALE, _ZERO = "._weight_qdata", "._weight_scale", "._weight_zero_point"
_PLAIN_ROWS = 0  # the only layout in which bitsandbytes saves today
_LARGEST = 127


@dataclass(frozen=True, slots=True)
class Packing:
    """How the weights of a directory are packed.

    unpack: the directory, its tensors, and whether a module has its weight as [in, out] -> tensors.
    """

    name: str
    unpack: Callable[[Path, dict[str, Tensor], Callable[[str], bool]], dict[str, Tensor]]


def packing_of(file: Path, said: Mapping[str, Any]) -> Packing | None:
    """How a configuration says that its weights are packed; ModelError where that is not read."""
    if KEY not in said:
        return None
    how = said[KEY] if isinstance(said[KEY], dict) else {}
    method = how.get("quant_method")
    if method == "bitsandbytes" and how.get("load_in_8bit") is True:
        return Packing("int8 (bitsandbytes)", _of_bitsandbytes)
    if method == "torchao" and "Int8" in str(how.get("quant_type")):
        return Packing("int8 (torchao)", _of_torchao)
    raise ModelError(
        f"{file}: its weights are packed ({KEY!r}, {method!r}), and are evaluated as the numbers "
        "that they stand for alone; only int8 of bitsandbytes and torchao is read as it is: load "
        "it in transformers, call `dequantize(torch.float32)` and then `save_pretrained`, and gate "
        "that"
    )


def _of_bitsandbytes(
    path: Path, tensors: dict[str, Tensor], transposed: Callable[[str], bool]
) -> dict[str, Tensor]:
    found = dict(tensors)
    for key in sorted(key for key in tensors if key.endswith(_SCALES)):
        name = key.removesuffix(_SCALES)
        scales, layout = found.pop(key), found.pop(f"{name}{_LAYOUT}", None)
        weight = _rows(path, f"{name}.weight", found.get(f"{name}.weight"))
        if layout is not None and bool((layout != _PLAIN_ROWS).any()):
            kind = ", ".join(map(str, layout.flatten().tolist()[:4]))
            raise ModelError(f"{path}: {name!r} is not laid out by rows (format {kind})")
        if scales.shape != weight.shape[:1]:
            raise _unfit(path, name, weight, scales)
        rows = weight.float() * (scales.float()[:, None] / _LARGEST)
        found[f"{name}.weight"] = rows.T.contiguous() if transposed(name) else rows
    return _all_unpacked(path, found)


def _of_torchao(
    path: Path, tensors: dict[str, Tensor], _transposed: Callable[[str], bool]
) -> dict[str, Tensor]:
    found = dict(tensors)
    for key in sorted(key for key in tensors if key.endswith(_NUMBERS)):
        name = key.removesuffix(_NUMBERS)
        if f"{name}.weight" in found:
            raise ModelError(
                f"{path}: holds {f'{name}.weight'!r} as it is and as int8 ({key!r}), and does not "
                "say which counts; save the model again"
            )
        weight = _rows(path, key, found.pop(key))
        scales, zeros = found.pop(f"{name}{_SCALE}", None), found.pop(f"{name}{_ZERO}", None)
        scales = torch.empty(0) if scales is None else scales
        zeros = torch.zeros_like(scales) if zeros is None else zeros
        if (
            scales.dim() != 2
            or zeros.shape != scales.shape
            or len(scales) != len(weight)
            or not scales.shape[1]
            or weight.shape[1] % scales.shape[1]
        ):
            raise _unfit(path, name, weight, scales)
        size = weight.shape[1] // scales.shape[1]
        each, none = (x.float().repeat_interleave(size, dim=1) for x in (scales, zeros))
        found[f"{name}.weight"] = (weight.float() - none) * each
    return _all_unpacked(path, found)


def _rows(path: Path, name: str, weight: Tensor | None) -> Tensor:
    if weight is None or weight.dtype != torch.int8 or weight.dim() != 2:
        raise ModelError(f"{path}: {name!r} is no matrix of int8, as its scales want it")
    return weight


def _unfit(path: Path, name: str, weight: Tensor, scales: Tensor) -> ModelError:
    shapes = f"{list(weight.shape)} and {list(scales.shape)}"
    return ModelError(f"{path}: {name!r} has int8 and scales of {shapes}, which do not fit")


def _all_unpacked(path: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for name, tensor in sorted(tensors.items()):
        if not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise ModelError(f"{path}: {name!r} is {kind} without the scales that make it numbers")
    return tensors
