"""What is wrong with a directory of transformers is said with its file and a way out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from torch import nn

pytest.importorskip("transformers", reason="needs the extra: pip install 'pytest-circuits[hf]'")

from pytest_circuits.cli import main
from pytest_circuits.errors import ModelError
from pytest_circuits.model.huggingface import directory, weights
from pytest_circuits.model.huggingface.anatomy import anatomy_of
from pytest_circuits.model.open import load_model
from tests.huggingface.families import FAMILIES, OF_EXPERTS, edit, make, save, words

INDEX = "model.safetensors.index.json"
FALCON = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return save(make("llama"), tmp_path / "model")


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return save(make("llama"), tmp_path / "shards", shard="20KB")


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(path)
    return str(caught.value)


def test_a_missing_shard_is_named(shards: Path) -> None:
    gone = sorted(shards.glob("model-*.safetensors"))[1]
    gone.unlink()
    assert f"{gone.name} missing" in refusal(shards)


def test_a_shard_that_holds_something_else_is_named(shards: Path) -> None:
    file = min(shards.glob("model-*.safetensors"))
    tensors = load_file(file)
    name = min(tensors)
    save_file({n: t for n, t in tensors.items() if n != name}, file)
    assert f"has not got the tensor {name!r}" in refusal(shards)
    save_file(tensors | {"more": torch.ones(1)}, file)
    assert "holds, and the index does not list, the tensor 'more'" in refusal(shards)


@pytest.mark.parametrize("name", ["../model/model.safetensors", "a/b.safetensors", 3])
def test_an_index_names_files_beside_it_alone(shards: Path, name: object) -> None:
    (shards / INDEX).write_text(json.dumps({"weight_map": {"model.norm.weight": name}}))
    assert "is not the name of a file beside it" in refusal(shards)


@pytest.mark.parametrize(
    ("file", "way_out"),
    [
        ("pytorch_model.bin", "a pickled checkpoint, which is never loaded"),
        ("model.Q4_1.gguf", "GgufConfig(dequantize=True)"),
        ("adapter_config.json", "give each a directory of its own"),
        ("notes.txt", f"neither model.safetensors nor {INDEX}"),
    ],
)
def test_weights_of_another_kind_are_refused_with_the_way_out(
    path: Path, file: str, way_out: str
) -> None:
    (path / "model.safetensors").unlink()
    (path / file).write_text("x")
    assert way_out in refusal(path)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"auto_map": {"AutoModelForCausalLM": "theirs.py"}}, "asks for code of its own"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "call `dequantize(torch.flo"),
        ({"model_type": "no_such_type"}, "does not know the model type 'no_such_type'"),
        ({"model_type": "vit"}, "is not one that continues text"),
        ({"num_hidden_layers": 3}, "missing tensor 'model.layers.2."),
        ({"num_hidden_layers": 1}, "unexpected tensor 'model.layers.1."),
        ({"intermediate_size": 40}, "do not fit config.json"),
        ({"hidden_size": "wide"}, "transformers cannot use it"),
    ],
)
def test_configurations_that_cannot_be(path: Path, said: dict[str, object], why: str) -> None:
    edit(path, **said)
    assert why in refusal(path)


def test_types_that_cannot_be_read_are_named(path: Path) -> None:
    tensors = load_file(path / "model.safetensors")
    tensors["model.norm.weight"] = tensors["model.norm.weight"].to(torch.float8_e4m3fn)
    save_file(tensors, path / "model.safetensors")
    assert "has type torch.float8_e4m3fn" in refusal(path)


def test_weights_that_are_not_numbers_are_named(path: Path) -> None:
    tensors = load_file(path / "model.safetensors")
    tensors["model.norm.weight"][0] = torch.nan
    save_file(tensors, path / "model.safetensors")
    assert "'model.norm.weight' holds NaN or infinity" in refusal(path)


def test_a_tokenizer_is_needed_and_has_to_fit(path: Path) -> None:
    words(path, [f"w{i}" for i in range(70)])
    assert "has ids up to 69, but the embedding has 64 rows" in refusal(path)
    (path / "tokenizer.json").unlink()
    assert "has no tokenizer.json" in refusal(path)


def test_tied_weights_that_differ_are_refused(tmp_path: Path) -> None:
    path = save(make("gpt2"), tmp_path / "model")
    tensors = load_file(path / "model.safetensors")
    embedding = next(name for name in tensors if name.endswith("wte.weight"))
    tensors["lm_head.weight"] = tensors[embedding].clone()
    save_file(tensors, path / "model.safetensors")
    load_model(path)
    tensors["lm_head.weight"][0, 0] += 1
    save_file(tensors, path / "model.safetensors")
    assert "saved twice and differ" in refusal(path)


def test_a_model_that_does_not_fit_is_not_loaded(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "free_memory", lambda: 10_000)
    monkeypatch.setattr(weights, "read_tensors", lambda *_: pytest.fail("was read"))
    assert "does not fit into memory" in refusal(path)


def test_without_the_extra_the_way_to_install_it_is_said(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "find_spec", lambda _name: None)
    assert "pip install 'pytest-circuits[hf]'" in refusal(path)


def test_a_family_that_computes_otherwise_is_refused(tmp_path: Path) -> None:
    # An encoder: what stands on the right changes what stands on the left.
    path = save(make("llama"), tmp_path / "model")
    edit(path, is_causal=False)
    assert "padding on the right changes nothing, and here it is off by" in refusal(path)


class _Reversed(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.flip(-1))


@pytest.mark.parametrize(
    ("part", "said"),
    [("o_proj", "0.attn.head[3] at zero"), ("down_proj", "0.mlp.neuron[47] at zero")],
)
def test_heads_that_are_laid_out_otherwise_are_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch, part: str, said: str
) -> None:
    def reversed_(module: nn.Module, config: object) -> object:
        for name, linear in module.named_modules():
            if name.endswith(part):
                linear.__class__ = _Reversed
        return anatomy_of(module, config)

    monkeypatch.setattr(directory, "anatomy_of", reversed_)
    assert said in refusal(path)


def test_a_layer_without_heads_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(module: nn.Module, config: object) -> object:
        layer = module.get_submodule("model.layers.1")
        layer.self_attn = nn.Linear(32, 32)
        return anatomy_of(module, config)

    monkeypatch.setattr(directory, "anatomy_of", without)
    said = refusal(path)
    assert "layer 1 (LlamaDecoderLayer) has no projection of what its heads put out" in said
    assert "docs/extending.md" in said


def test_a_command_exits_with_two_and_writes_nothing(path: Path, tmp_path: Path) -> None:
    edit(path, auto_map={})
    (tmp_path / "text").write_text("w5 " * 2000)
    before = sorted(path.iterdir())
    done = CliRunner().invoke(main, ["reference", str(path), "--text", str(tmp_path / "text")])
    assert done.exit_code == 2
    assert "asks for code of its own" in done.output
    assert sorted(path.iterdir()) == before


@pytest.mark.parametrize("content", ["{", "[]", '{"model_type": 3}'])
def test_other_directories_are_left_to_other_adapters(path: Path, content: str) -> None:
    (path / "config.json").write_text(content)
    assert not directory.recognises(path)
    assert "config.json" in refusal(path)


@pytest.mark.parametrize(
    "said",
    [
        {"_attn_implementation": "flash_attention_2"},
        {"pad_token_id": 9999},
        {"num_key_value_heads": 0},
        {"return_dict": False},
        {"text_config": {"model_type": "llama"}},
        {"max_position_embeddings": 4},
    ],
    ids=lambda said: next(iter(said)),
)
def test_settings_with_which_nothing_runs_are_refused_in_words(
    path: Path, said: dict[str, object]
) -> None:
    edit(path, **said)
    assert refusal(path).startswith(str(path))


@pytest.mark.parametrize(
    ("family", "config"),
    [
        ("falcon", FALCON | {"multi_query": True, "new_decoder_architecture": False}),
        ("falcon", FALCON | {"num_kv_heads": 2, "new_decoder_architecture": True}),
        ("qwen3_next", OF_EXPERTS),
    ],
    ids=["one group beside queries", "groups among queries", "linear attention"],
)
def test_a_family_whose_heads_lie_elsewhere_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, config: dict[str, object]
) -> None:
    monkeypatch.setitem(FAMILIES, family, config)
    said = refusal(save(make(family), tmp_path / family))
    assert f"cannot be gated: a {family} model" in said
    assert "docs/extending.md" in said
