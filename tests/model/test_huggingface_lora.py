"""A directory that holds a LoRA adapter alone: its base model, with the adapter added."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from torch import Tensor

pytest.importorskip("transformers", reason="needs the extra: pip install 'pytest-circuits[hf]'")

from pytest_circuits import load_model
from pytest_circuits.cli import main
from pytest_circuits.errors import ModelError
from tests.huggingface.families import make, save

SETTINGS: dict[str, Any] = {
    "peft_type": "LORA",
    "r": 3,
    "lora_alpha": 6,
    "lora_dropout": 0.1,
    "bias": "none",
    "target_modules": ["x"],
    "init_lora_weights": True,
    "modules_to_save": None,
    "rank_pattern": {},
    "use_dora": False,
    "use_rslora": False,
}
PARTS = {
    "llama": ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj"),
    "gpt2": ("transformer.h.0.attn.c_attn", "transformer.h.1.attn.c_proj"),
}
TOKENS = torch.arange(12).view(2, 6)


@pytest.fixture(scope="module", params=list(PARTS))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory, family: str) -> Path:
    folder = tmp_path_factory.mktemp(family)
    save(make(family), folder / "base")
    return folder


def weights_of(family: str) -> dict[str, Tensor]:
    """A and B as peft writes them, for the parts of a family."""
    generator = torch.Generator().manual_seed(7)
    found = {}
    for name in PARTS[family]:
        weight = make(family).get_submodule(name).weight
        reads, puts_out = weight.shape if family == "gpt2" else weight.shape[::-1]
        for end, shape in (("A", (3, reads)), ("B", (puts_out, 3))):
            key = f"base_model.model.{name}.lora_{end}.weight"
            found[key] = torch.randn(shape, generator=generator) * 0.3
    return found


def adapter(
    folder: Path, family: str, name: str = "lora", base: str = "../base", **said: object
) -> Path:
    path = folder / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    settings = SETTINGS | {"base_model_name_or_path": base} | said
    (path / "adapter_config.json").write_text(json.dumps(settings))
    save_file(weights_of(family), path / "adapter_model.safetensors")
    return path


@pytest.mark.parametrize(("said", "scale"), [({}, 2.0), ({"use_rslora": True}, 6 / 3**0.5)])
def test_an_adapter_is_added_to_the_weights_of_its_base(
    top: Path, family: str, said: dict[str, Any], scale: float
) -> None:
    model = load_model(adapter(top, family, **said))

    merged, added = make(family), weights_of(family)
    with torch.no_grad():
        for name in PARTS[family]:
            a, b = (added[f"base_model.model.{name}.lora_{end}.weight"] for end in "AB")
            weight = merged.get_submodule(name).weight
            weight += (b @ a * scale).view(b.shape[0], -1).T if family == "gpt2" else b @ a * scale
        expected = merged(input_ids=TOKENS).logits
    assert torch.allclose(model.run(TOKENS), expected, atol=1e-5)
    base = load_model(top / "base")
    assert float((base.run(TOKENS) - expected).abs().max()) > 0.1
    assert "LoRA on float32 weights" in model.description
    assert (model.path, base.tokenizer_digest) == (top / "lora", model.tokenizer_digest)


def test_the_digest_is_of_base_and_adapter(top: Path, family: str) -> None:
    one = load_model(adapter(top, family)).digest
    other = load_model(adapter(top, family, lora_alpha=7)).digest
    same = load_model(adapter(top, family, "elsewhere", base=str(top / "base"), r=9)).digest
    assert one == same
    assert len({one, other, load_model(top / "base").digest}) == 3


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"peft_type": "IA3"}, "is of type 'IA3', and not LORA; merge it where it was trained"),
        ({"use_dora": True}, "'use_dora' is on, and adds more than B A; merge it"),
        ({"bias": "all"}, "'bias' is on, and adds more than B A"),
        ({"modules_to_save": ["lm_head"]}, "'modules_to_save' is on"),
        ({"alpha_pattern": {"q_proj": 3}}, "'alpha_pattern' is on"),
        ({"what_comes_next": 1}, "'what_comes_next' is on"),
        ({"init_lora_weights": "pissa"}, "'init_lora_weights' is 'pissa', which may have changed"),
        ({"lora_alpha": "6"}, "'lora_alpha' is no number"),
        ({"lora_alpha": 10**400}, "'lora_alpha' is no finite number"),
        ({"lora_alpha": float("inf")}, "Infinity is not a number that JSON has"),
        ({"use_rslora": "true"}, "'use_rslora' is 'true', and should be true or false"),
        ({"use_rslora": 1}, "'use_rslora' is 1, and should be true or false"),
        ({"base": "x" * 5000}, "which is no model directory here"),
        (
            {"base": "meta-llama/Llama"},
            "'meta-llama/Llama', which is no model directory here",
        ),
        ({"base": ""}, "is an adapter for '', which is no model directory here"),
        ({"base": "."}, "is an adapter for '.', which is no model directory here"),
    ],
)
def test_settings_that_do_more_than_that_are_refused(
    top: Path, family: str, said: dict[str, Any], why: str
) -> None:
    with pytest.raises(ModelError) as error:
        load_model(adapter(top, family, **said))
    assert "adapter_config.json: " in str(error.value)
    assert why in str(error.value)


def test_weights_that_do_not_fit_are_named(top: Path, family: str) -> None:
    name = PARTS[family][0]
    a, b = (f"base_model.model.{name}.lora_{end}.weight" for end in "AB")
    good = weights_of(family)
    for changed, why in (
        ({a: good[a][:, 1:].contiguous()}, f"to '{name}', which is ["),
        ({a: good[a][1:].contiguous()}, f"{name}' has A and B of [2, "),
        ({f"x.{a}": good[a].clone()}, "is no half of a pair of LoRA"),
        (
            {
                "base_model.model.no.lora_A.weight": good[a].clone(),
                "base_model.model.no.lora_B.weight": good[b].clone(),
            },
            "adds to 'no', which is no linear map of",
        ),
        ({b: good[b] * torch.nan}, "holds NaN or infinity"),
    ):
        path = adapter(top, family)
        save_file(good | changed, path / "adapter_model.safetensors")
        with pytest.raises(ModelError) as error:
            load_model(path)
        assert why in str(error.value)
    (path / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"has no adapter_model\.safetensors \(pickles are never"):
        load_model(path)


def test_an_adapter_beside_a_whole_model_is_refused(top: Path, family: str) -> None:
    """What transformers loads there is the model with the adapter; one of them would be gated."""
    path = adapter(top, family)
    for file in (top / "base").iterdir():
        shutil.copy(file, path)
    with pytest.raises(ModelError, match=r"holds a whole model \(config.json\) and an adapter"):
        load_model(path)


def test_weights_that_are_the_embeddings_too_are_not_added_to(top: Path, family: str) -> None:
    path = adapter(top, family)
    tied = make("gpt2")  # its embedding and unembedding are one
    save(tied, top / "tied")
    edited = json.loads((path / "adapter_config.json").read_text())
    edited["base_model_name_or_path"] = str(top / "tied")
    (path / "adapter_config.json").write_text(json.dumps(edited))
    a, b = torch.ones(3, 32), torch.ones(64, 3)
    key = "base_model.model.lm_head.lora_{}.weight"
    save_file({key.format("A"): a, key.format("B"): b}, path / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="'lm_head', whose weights are the embedding's too"):
        load_model(path)


def test_a_reference_is_measured_beside_the_adapter(top: Path, family: str) -> None:
    path = adapter(top, family)
    (top / "text").write_text("w5 w9 " * 2000)
    done = CliRunner().invoke(main, ["reference", str(path), "--text", str(top / "text")])
    assert done.exit_code == 0, done.output
    assert "tokens" in load_file(path / "reference.safetensors")
