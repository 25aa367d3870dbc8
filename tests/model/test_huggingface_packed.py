"""Weights of int8 are evaluated as the numbers that they stand for, or refused in words.

Layouts are those that bitsandbytes 0.50.2 and torchao 0.18.0 save through transformers 5.24.0.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

pytest.importorskip("transformers", reason="needs the extra: pip install 'pytest-circuits[hf]'")

from pytest_circuits import load_model
from pytest_circuits.errors import ModelError
from tests.huggingface.families import edit, make, save

SAID: dict[str, dict[str, Any]] = {
    "bitsandbytes": {"quant_method": "bitsandbytes", "load_in_8bit": True, "load_in_4bit": False},
    "torchao": {
        "quant_method": "torchao",
        "quant_type": {"default": {"_type": "Int8WeightOnlyConfig", "_version": 2}},
    },
}
TOKENS = torch.arange(12).view(2, 6)
Tensors = dict[str, Tensor]


def packed(
    path: Path,
    family: str,
    how: str,
    change: Callable[[Tensors], None] | None = None,
    **said: object,
) -> tuple[Path, Any]:
    """A directory as a library saves it, and the decoder of the numbers that stand there."""
    module = make(family)
    linear = [
        (name, part)
        for name, part in module.named_modules()
        if type(part).__name__ in {"Linear", "Conv1D"} and name != "lm_head"
    ]
    tensors: Tensors = {}
    with torch.no_grad():
        for name, part in linear:
            rows = part.weight.T if type(part).__name__ == "Conv1D" else part.weight
            largest = rows.abs().amax(dim=1, keepdim=True)
            numbers = (rows / largest * 127).round()
            part.weight.copy_(
                (numbers * largest / 127).T
                if type(part).__name__ == "Conv1D"
                else numbers * largest / 127
            )
            if how == "bitsandbytes":
                tensors[f"{name}.weight"] = numbers.to(torch.int8)
                tensors[f"{name}.SCB"] = largest[:, 0].clone()
                tensors[f"{name}.weight_format"] = torch.tensor(0, dtype=torch.uint8)
            else:
                shifted = 5 if name.endswith("q_proj") else 0
                tensors[f"{name}._weight_qdata"] = (numbers.clamp(max=122) + shifted).to(torch.int8)
                tensors[f"{name}._weight_scale"] = largest / 127
                zero = torch.full(largest.shape, shifted, dtype=torch.int8)
                tensors[f"{name}._weight_zero_point"] = zero
                part.weight.copy_(numbers.clamp(max=122) * largest / 127)
    save(module, path)
    kept = load_file(path / "model.safetensors")
    for name, _ in linear:
        del kept[f"{name}.weight"]
    tensors |= kept
    if change:
        change(tensors)
    save_file({k: v.contiguous() for k, v in tensors.items()}, path / "model.safetensors")
    edit(path, quantization_config=SAID[how] | said)
    return path, module


@pytest.mark.parametrize(
    ("family", "how"), [("llama", "bitsandbytes"), ("gpt2", "bitsandbytes"), ("llama", "torchao")]
)
def test_int8_is_evaluated_as_the_numbers_that_it_stands_for(
    tmp_path: Path, family: str, how: str
) -> None:
    path, module = packed(tmp_path / "model", family, how)

    model = load_model(path)

    with torch.no_grad():
        expected = module(input_ids=TOKENS).logits
        unpacked = make(family)(input_ids=TOKENS).logits
    assert torch.allclose(model.run(TOKENS), expected, atol=1e-5)
    assert float((unpacked - expected).abs().max()) > 1e-4  # rounding is seen
    assert f"int8 ({how}) weights" in model.description


def test_several_scales_of_a_row_are_each_of_a_part_of_it(tmp_path: Path) -> None:
    name = "model.layers.0.mlp.down_proj"

    def two_groups(tensors: Tensors) -> None:
        for end in ("scale", "zero_point"):
            key = f"{name}._weight_{end}"
            tensors[key] = tensors[key].repeat(1, 2)
        tensors[f"{name}._weight_scale"][:, 1] *= 2

    path, module = packed(tmp_path / "model", "llama", "torchao", two_groups)
    with torch.no_grad():
        weight = module.get_submodule(name).weight
        weight[:, weight.shape[1] // 2 :] *= 2
        expected = module(input_ids=TOKENS).logits
    assert torch.allclose(load_model(path).run(TOKENS), expected, atol=1e-5)


def without(end: str) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        for key in [key for key in tensors if key.endswith(end)]:
            del tensors[key]

    return change


def other(end: str, to: Callable[[Tensor], Tensor]) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        for key in [key for key in tensors if key.endswith(end)]:
            tensors[key] = to(tensors[key])

    return change


def twice(tensors: Tensors) -> None:
    """Hold one weight as it is, beside the same as int8."""
    key = next(key for key in sorted(tensors) if key.endswith("_qdata"))
    tensors[f"{key.removesuffix('._weight_qdata')}.weight"] = tensors[key].float()


@pytest.mark.parametrize(
    ("how", "change", "said"),
    [
        ("bitsandbytes", without(".SCB"), "is int8 without the scales that make it numbers"),
        ("bitsandbytes", other(".SCB", lambda x: x[1:]), "has int8 and scales of ["),
        ("bitsandbytes", other(".SCB", lambda x: x * torch.inf), "holds NaN or infinity"),
        ("bitsandbytes", other("proj.weight", Tensor.float), "is no matrix of int8, as its scales"),
        (
            "bitsandbytes",
            other("weight_format", lambda x: x + 2),
            "is not laid out by rows (format 2)",
        ),
        (
            "bitsandbytes",
            other("weight_format", lambda x: torch.stack([x, x + 1])),
            "is not laid out by rows (format 0, 1)",
        ),
        ("torchao", twice, ".weight' as it is and as int8 ("),
        ("torchao", without("_scale"), "has int8 and scales of ["),
        ("torchao", other("_scale", lambda x: x.repeat(1, 5)), "has int8 and scales of ["),
        ("torchao", other("_zero_point", lambda x: x[1:]), "has int8 and scales of ["),
        ("torchao", other("_qdata", Tensor.float), "is no matrix of int8, as its scales want it"),
    ],
)
def test_scales_that_do_not_fit_are_named(
    tmp_path: Path, how: str, change: Callable[[Tensors], None], said: str
) -> None:
    path, _ = packed(tmp_path / "model", "llama", how, change)
    with pytest.raises(ModelError) as error:
        load_model(path)
    assert said in str(error.value)


@pytest.mark.parametrize(
    "said",
    [
        {"quant_method": "gptq"},
        {"load_in_8bit": False, "load_in_4bit": True},
        {"quant_method": "torchao", "quant_type": {"default": {"_type": "Int4WeightOnlyConfig"}}},
    ],
)
def test_other_packings_are_refused_with_the_way_out(tmp_path: Path, said: dict[str, Any]) -> None:
    path, _ = packed(tmp_path / "model", "llama", "bitsandbytes", **said)
    with pytest.raises(ModelError, match=r"call `dequantize\(torch\.float32\)`"):
        load_model(path)


def test_the_digest_is_of_what_the_files_hold(tmp_path: Path) -> None:
    one, _ = packed(tmp_path / "one", "llama", "bitsandbytes")
    same, _ = packed(tmp_path / "same", "llama", "bitsandbytes")
    two, _ = packed(tmp_path / "two", "llama", "torchao")
    digests = [load_model(path).digest for path in (one, same, two)]
    assert digests[0] == digests[1] != digests[2]
    said = json.loads((one / "config.json").read_text())
    assert said["quantization_config"]["quant_method"] == "bitsandbytes"
