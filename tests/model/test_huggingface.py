"""Decoders of transformers behind the protocol: every family, with tiny random weights."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

pytest.importorskip("transformers", reason="needs the extra: pip install 'pytest-circuits[hf]'")

from pytest_circuits.errors import ModelError
from pytest_circuits.model.huggingface.adapter import HuggingFaceModel
from pytest_circuits.model.huggingface.anatomy import read_by
from pytest_circuits.model.open import load_model
from pytest_circuits.model.protocol import Hook, Shows, gauges_of
from pytest_circuits.model.reference import measure
from pytest_circuits.model.reference_file import text_windows
from tests.huggingface.families import FAMILIES, WORDS, edit, make, save

TOKENS = torch.tensor([[3, 9, 27, 17, 51, 25], [5, 25, 61, 49, 53, 9]])
NEAR = 1e-5
BEGINS = '{"add_bos_token": true, "bos_token": {"content": "w1"}}'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("families")


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, folder: Path) -> HuggingFaceModel:
    return opened(save(make(request.param), folder / request.param))


@pytest.fixture(scope="module")
def llama(folder: Path) -> Path:
    return save(make("llama"), folder / "a_llama")


def opened(path: Path) -> HuggingFaceModel:
    model = load_model(path)
    assert isinstance(model, HuggingFaceModel)
    return model


def zero(site: str, channels: slice) -> Hook:
    def hook(name: str, x: Tensor) -> Tensor:
        return x.index_fill(-1, torch.arange(x.shape[-1])[channels], 0) if name == site else x

    return hook


@contextmanager
def zeroed(*parts: Tensor) -> Iterator[None]:
    kept = [part.clone() for part in parts]
    for part in parts:
        part.zero_()
    yield
    for part, before in zip(parts, kept, strict=True):
        part.copy_(before)


def columns(linear: Any, channels: slice) -> Tensor:  # noqa: ANN401  (two classes of weights)
    linear_has_them_last: bool = isinstance(linear, torch.nn.Linear)
    weight: Tensor = linear.weight
    return weight[:, channels] if linear_has_them_last else weight[channels]


def same(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= NEAR * other.abs().max())


def test_nodes_at_zero_are_weights_at_zero(model: HuggingFaceModel) -> None:
    plain = model.run(TOKENS)
    for n, block in enumerate(model.anatomy.blocks):
        size = block.head_dim
        for head in range(block.heads):
            channels = slice(head * size, (head + 1) * size)
            with zeroed(columns(block.out, channels)):
                expected = model.run(TOKENS)
            found = model.run(TOKENS, zero(f"{n}.attn.head", channels))
            assert same(found, expected), f"head {head} of layer {n}"
            assert not same(found, plain), f"head {head} of layer {n} does nothing"
        if block.down is None:
            continue
        for neuron in (0, read_by(block.down) - 1):
            channels = slice(neuron, neuron + 1)
            with zeroed(columns(block.down, channels)):
                expected = model.run(TOKENS)
            assert same(model.run(TOKENS, zero(f"{n}.mlp.neuron", channels)), expected)


def test_a_residual_channel_at_zero_is_what_writes_it_at_zero(model: HuggingFaceModel) -> None:
    unembedding: Any = model.anatomy.unembedding
    unembedding.weight = torch.nn.Parameter(unembedding.weight.clone(), requires_grad=False)
    named = dict(model.module.base_model.named_parameters())
    norm = [part for name, part in named.items() if name.startswith("word_embeddings_layernorm")]
    embeds = [part for name, part in named.items() if re.search("embed|wte|wpe", name)]
    with zeroed(*[part[..., 5] for part in norm or embeds]):
        expected = model.run(TOKENS)
    assert same(model.run(TOKENS, zero("0.resid", slice(5, 6))), expected)


def test_an_expert_at_zero_is_its_weights_at_zero(model: HuggingFaceModel) -> None:
    experts = [block.experts for block in model.anatomy.blocks]
    if experts[0] is None:
        assert "0.mlp.neuron" in model.sites
        return
    assert "0.mlp.neuron" not in model.sites
    for n, part in enumerate(experts):
        down: Any = part.down_proj if part is not None else None
        for expert in range(model.sites[f"{n}.mlp.expert"].width):
            with zeroed(down[expert]):
                expected = model.run(TOKENS)
            found = model.run(TOKENS, zero(f"{n}.mlp.expert", slice(expert, expert + 1)))
            assert same(found, expected)


def test_a_group_at_zero_silences_its_heads(model: HuggingFaceModel) -> None:
    for n, block in enumerate(model.anatomy.blocks):
        each = block.heads // block.groups * block.head_dim
        before = heads_of(model, n, lambda _name, x: x)
        for group in range(block.groups):
            channels = slice(2 * group * block.head_dim, 2 * (group + 1) * block.head_dim)
            after = heads_of(model, n, zero(f"{n}.attn.kv", channels))
            expected = before.clone()
            expected[..., group * each : (group + 1) * each] = 0
            assert torch.equal(after, expected)


def heads_of(model: HuggingFaceModel, layer: int, hook: Hook) -> Tensor:
    found = {}

    def look(name: str, x: Tensor) -> Tensor:
        found[name] = x
        return hook(name, x)

    model.visit(TOKENS, look)
    return found[f"{layer}.attn.head"]


def test_attention_is_shown_and_replaced(model: HuggingFaceModel) -> None:
    patterns, plain = gauges_of(model, Shows.PATTERN), model.run(TOKENS)
    if not patterns:
        assert model.module.config.model_type in {"bloom", "gpt_neo"}
        return
    seen = {}

    def look(name: str, x: Tensor) -> Tensor:
        if name in patterns:
            seen[name] = x
            return x.clone()
        return x

    assert same(model.run(TOKENS, look, gauges=tuple(patterns)), plain)
    assert list(seen) == list(patterns)
    for x in seen.values():
        assert x.shape == (2, 4, 6, 6)
        assert torch.allclose(x.sum(-1), torch.ones(2, 4, 6))
        assert not x.triu(1).any()
    nowhere = model.run(
        TOKENS, lambda name, x: x * 0 if name == "1.attn.pattern" else x, gauges=["1.attn.pattern"]
    )
    assert same(nowhere, model.run(TOKENS, zero("1.attn.head", slice(None))))


def test_norm_scales_are_shown_and_replaced(model: HuggingFaceModel) -> None:
    scales, plain = gauges_of(model, Shows.SCALE), model.run(TOKENS)
    assert {gauge.layer for gauge in scales.values()} == {0, 1, None}
    seen = {}

    def look(name: str, x: Tensor) -> Tensor:
        if name in scales:
            seen[name] = x
            return x.clone()
        return x

    assert same(model.run(TOKENS, look, gauges=tuple(scales)), plain)
    assert list(seen) == sorted(seen, key=list(seen).index)
    assert all(x.shape == (2, 6, 1) for x in seen.values())
    # Twice the scale after the last layer: twice the logits, where nothing bends or adds to them.
    if model.module.config.model_type in {"llama", "mistral", "qwen2", "qwen3", "olmo2"}:
        twice = model.run(
            TOKENS, lambda name, x: 2 * x if name == "final_scale" else x, gauges=["final_scale"]
        )
        assert same(twice, 2 * plain)


def test_a_model_is_that_of_the_library(folder: Path) -> None:
    module = make("gemma2", seed=3)
    model = opened(save(module, folder / "gemma"))
    with torch.inference_mode():
        assert same(model.run(TOKENS), module(input_ids=TOKENS).logits)
    assert "gemma2, 2 layers, 4 heads in 2 groups, d_model 32" in model.description


def test_some_sites_are_shown_alone(llama: Path) -> None:
    model = opened(llama).among(["attn.head"])
    assert list(model.sites) == ["0.attn.head", "1.attn.head"]
    seen = []

    def look(name: str, x: Tensor) -> Tensor:
        seen.append(name)
        return x

    model.run(TOKENS, look)
    assert seen == ["0.attn.head", "1.attn.head"]
    assert model.points == ("resid", "attn.kv", "attn.head", "mlp.neuron")


def test_shards_are_the_whole(llama: Path, folder: Path) -> None:
    shards = save(make("llama"), folder / "shards", shard="20KB")
    assert len(list(shards.glob("*.safetensors"))) > 1
    one, other = opened(llama), opened(shards)
    assert one.digest == other.digest
    assert torch.equal(one.run(TOKENS), other.run(TOKENS))


def test_weights_of_sixteen_bits_are_evaluated_as_the_numbers_that_they_are(
    llama: Path, folder: Path
) -> None:
    halved = save(make("llama").bfloat16(), folder / "bf16")
    model = opened(halved)
    assert "bfloat16 weights" in model.description
    expected = make("llama").bfloat16().float()
    with torch.inference_mode():
        assert same(model.run(TOKENS), expected(input_ids=TOKENS).logits)
    assert model.digest != opened(llama).digest


def test_the_digest_is_of_weights_configuration_and_tokenizer(llama: Path, tmp_path: Path) -> None:
    def other(change: str) -> str:
        path = save(make("llama"), tmp_path / change)
        if change == "weights":
            tensors = load_file(path / "model.safetensors")
            tensors["model.norm.weight"][0] += 1e-3
            save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
        elif change == "config":
            edit(path, rms_norm_eps=1e-3)
        elif change == "tokenizer":
            text = (path / "tokenizer.json").read_text()
            (path / "tokenizer.json").write_text(text.replace('"w9"', '"W9"'))
        elif change == "bos":
            (path / "tokenizer_config.json").write_text(
                '{"add_bos_token": true, "bos_token": "w1"}'
            )
        else:  # nothing that decides a logit
            edit(path, transformers_version="5.0", _name_or_path="elsewhere")
        return opened(path).digest

    own = opened(llama).digest
    assert other("nothing") == own
    assert len({own, *map(other, ("weights", "config", "tokenizer", "bos"))}) == 5


def test_the_beginning_of_a_sequence_is_as_the_tokenizer_says(tmp_path: Path) -> None:
    path = save(make("llama"), tmp_path / "model")
    plain = opened(path)
    assert (plain.encode("w5 w6"), plain.prefix) == ([5, 6], ())
    assert "no token put before a text" in plain.description
    settings = path / "tokenizer_config.json"
    settings.write_text(BEGINS)
    model = opened(path)
    assert (model.encode("w5 w6"), model.prefix) == ([1, 5, 6], (1,))
    assert "w1 before every text" in model.description
    assert model.tokenizer_digest != plain.tokenizer_digest
    settings.write_text('{"add_bos_token": true, "bos_token": "<s>"}')
    with pytest.raises(ModelError, match="asks for a token at the beginning"):
        opened(path)


def test_means_leave_out_what_the_tokenizer_puts_before_a_text(tmp_path: Path) -> None:
    path = save(make("llama"), tmp_path / "model")
    (path / "tokenizer_config.json").write_text(BEGINS)
    model = opened(path)
    (tmp_path / "text").write_text(" ".join(f"w{i % 61 + 2}" for i in range(200)))
    windows = text_windows([tmp_path / "text"], model.encode, length=9, prefix=model.prefix)
    assert windows.shape == (25, 9)
    assert windows[:, 0].eq(1).all()
    assert not windows[:, 1:].eq(1).any()
    seen = {}

    def look(name: str, x: Tensor) -> Tensor:
        seen[name] = x
        return x

    model.visit(windows, look)
    reference = measure(model, windows)
    for name, x in seen.items():
        assert torch.allclose(reference.mean[name], x[:, 1:].mean((0, 1)), atol=1e-5), name


def test_nothing_of_the_library_is_loaded_without_such_a_model() -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom pytest_circuits.model.open import load_model\n"
        "load_model(Path('models/tinypython'))\n"
        "assert not {'transformers', 'huggingface_hub'} & sys.modules.keys()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_shuffled_model_knows_nothing(llama: Path) -> None:
    model = opened(llama)
    other = model.shuffled(seed=1)
    assert other.digest != model.digest
    assert not same(other.run(TOKENS), model.run(TOKENS))
    assert same(other.run(TOKENS), model.shuffled(seed=1).run(TOKENS))
    found = other.run(TOKENS, zero("0.attn.head", slice(0, 8)))
    assert not same(found, other.run(TOKENS))


def test_vocabularies_may_be_smaller_than_the_embedding(llama: Path) -> None:
    model = opened(llama)
    assert (model.vocab_size, model.max_tokens) == (WORDS, 64)
    assert model.decode_token(7) == "w7"
