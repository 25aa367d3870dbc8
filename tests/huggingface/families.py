"""Tiny decoders of transformers with random weights: one of each family, in directories."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

from pytest_circuits.model.huggingface.adapter import HuggingFaceModel
from pytest_circuits.model.protocol import Hook

WORDS = 64  # of the vocabulary
VOCABULARY = ("<unk>", *(f"w{i}" for i in range(1, WORDS)))
SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "head_dim": 8,
}
_OLD: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
OF_EXPERTS: dict[str, Any] = SMALL | {
    "num_local_experts": 4,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": _OLD,
    "gpt_neo": {
        "hidden_size": 32,
        "num_layers": 2,
        "num_heads": 4,
        "max_position_embeddings": 64,
        "attention_types": [[["global", "local"], 1]],
    },
    "gpt_neox": {k: v for k, v in SMALL.items() if k not in {"num_key_value_heads", "head_dim"}},
    "gptj": _OLD | {"rotary_dim": 4},
    "llama": SMALL,
    "mistral": SMALL,
    "qwen2": SMALL,
    "qwen3": SMALL | {"head_dim": 16},
    "gemma2": SMALL | {"query_pre_attn_scalar": 8},
    "gemma3_text": SMALL | {"query_pre_attn_scalar": 8},
    "olmo2": SMALL,
    "phi3": SMALL,
    "opt": SMALL | {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "mixtral": OF_EXPERTS,
    "qwen3_moe": OF_EXPERTS,
}


def make(family: str, *, seed: int = 0, **others: object) -> Any:  # noqa: ANN401  (of transformers)
    """A decoder with random weights that are large enough to matter; others: of its config."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING  # noqa: PLC0415
        from transformers.models.auto.modeling_auto import (  # noqa: PLC0415
            MODEL_FOR_CAUSAL_LM_MAPPING,
        )

        tokens = {"vocab_size": WORDS, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
        config = CONFIG_MAPPING[family](**(tokens | FAMILIES.get(family, {}) | others))
        module = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in module.parameters():
            weight.normal_(std=0.2, generator=generator)
    return module


def save(
    module: Any,  # noqa: ANN401  (as above)
    path: Path,
    *,
    shard: str = "5GB",
    vocabulary: Sequence[str] = VOCABULARY,
) -> Path:
    """Write a model directory as the library does, with a tokenizer of words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module.save_pretrained(path, max_shard_size=shard)
    words(path, vocabulary)
    return path


def words(path: Path, every: Sequence[str]) -> None:
    """A `tokenizer.json` for which each word is a token, by its place in the list."""
    model = models.WordLevel({word: i for i, word in enumerate(every)}, unk_token="<unk>")  # noqa: S106  (a word)
    backend = Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.save(str(path / "tokenizer.json"))


def edit(path: Path, **said: object) -> None:
    """Change what `config.json` says; None takes a key away."""
    file = path / "config.json"
    values = json.loads(file.read_text()) | said
    file.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


def zero(site: str, channels: slice) -> Hook:
    """A hook that sets channels of a site to zero."""

    def hook(name: str, x: Tensor) -> Tensor:
        return x.index_fill(-1, torch.arange(x.shape[-1])[channels], 0) if name == site else x

    return hook


@contextmanager
def edited(model: HuggingFaceModel, site: str, channels: slice) -> Iterator[bool]:
    """The same done to weights, meanwhile; False where no weights do it."""
    parts = list(_weights(model, site, channels))
    kept = [part.clone() for part in parts]
    for part in parts:
        part.zero_()
    try:
        yield bool(parts)
    finally:
        for part, before in zip(parts, kept, strict=True):
            part.copy_(before)


def _weights(model: HuggingFaceModel, site: str, channels: slice) -> Iterator[Tensor]:
    layer, _, point = site.partition(".")
    block: Any = model.anatomy.blocks[int(layer)]
    if point == "attn.head":
        yield _columns(block.out, channels)
    elif point == "mlp.neuron":
        yield _columns(block.down, channels)
    elif point == "mlp.expert":
        yield block.experts.down_proj[channels]
    elif site == "0.resid":  # what writes it first: embeddings, or a norm of theirs
        unembedding: Any = model.anatomy.unembedding  # is to stay as it is
        unembedding.weight = torch.nn.Parameter(unembedding.weight.clone(), requires_grad=False)
        named = dict(model.module.base_model.named_parameters())
        norm = [x for name, x in named.items() if name.startswith("word_embeddings_layernorm")]
        embeds = [x for name, x in named.items() if re.search("embed|wte|wpe", name)]
        yield from (x[..., channels] for x in norm or embeds)


def _columns(linear: Any, channels: slice) -> Tensor:  # noqa: ANN401  (two classes of weights)
    weight: Tensor = linear.weight
    return weight[:, channels] if isinstance(linear, torch.nn.Linear) else weight[channels]
