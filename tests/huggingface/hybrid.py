"""A tiny LFM2 whose circuit is known, of a family in which no sites are found.

Its layers have heads or a short convolution.

As in `tests.huggingface.side`, the token after `now` is the side that the first word names. Two
heads do it: one of the first layer looks from `now` at that word, one of the last layer at `now`.
"""

from __future__ import annotations

from pathlib import Path

import torch

from tests.huggingface.families import make, save, words
from tests.huggingface.side import HEADS, PAIR, SIZE, WORDS

CIRCUIT = {"0.attn.head": [PAIR[0]], "2.attn.head": [PAIR[1]]}
OUT, DOWN = "model.layers.{layer}.self_attn.out_proj", "model.layers.{layer}.feed_forward.w2"
SITES = f"""
  attn.head: {{module: "{OUT}", kind: head, nodes: {HEADS}}}
  attn.pattern: {{module: "model.layers.{{layer}}.self_attn", kind: pattern}}
  mlp.scale: {{module: "model.layers.{{layer}}.ffn_norm", kind: scale}}"""
NEURONS = f'\n  mlp.neuron: {{module: "{DOWN}", kind: neuron}}'
_NAMED, _SIDE, _NOW, _RELAY, _SAID = range(5)  # channels of the residual stream


def write(path: Path, *, pair: tuple[int, int] = PAIR, bfloat16: bool = False) -> Path:
    """Write the model, with the heads that do it; all other weights are small random ones."""
    module = make(
        "lfm2",
        vocab_size=len(WORDS),
        hidden_size=HEADS * SIZE,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        layer_types=["full_attention", "conv", "full_attention"],
        block_auto_adjust_ff_dim=False,
        max_position_embeddings=64,
        tie_word_embeddings=False,
        rope_parameters={"rope_type": "linear", "factor": 1e6, "rope_theta": 1e4},  # next to none
    )
    at = {word: i for i, word in enumerate(WORDS)}
    with torch.no_grad():
        for name, weight in module.named_parameters():
            weight.mul_(0.1)
            if "norm" in name:
                weight.fill_(1)
        embedding = module.model.embed_tokens.weight
        embedding[:, :8] = 0
        for word in ("left", "right"):
            embedding[at[word], _NAMED] = 4
            embedding[at[word], _SIDE] = 4 if word == "left" else -4
        embedding[at["now"], _NOW] = 4
        module.lm_head.weight[[at["L"], at["R"]], _SAID] = torch.tensor([1.0, -1.0])
        roads = ((_NAMED, _SIDE, _RELAY), (_NOW, _RELAY, _SAID))
        layers = (module.model.layers[0], module.model.layers[2])
        for layer, head, (looked_at, carried, written) in zip(layers, pair, roads, strict=True):
            attention, mine = layer.self_attn, slice(head * SIZE, head * SIZE + SIZE)
            attention.q_layernorm.weight.fill_(2)
            attention.k_layernorm.weight.fill_(2)
            for part in (attention.q_proj, attention.k_proj, attention.v_proj):
                part.weight[mine] = 0
            attention.q_proj.weight[mine.start, _NOW] = 1  # what it asks
            attention.k_proj.weight[mine.start, looked_at] = 1  # what answers
            attention.v_proj.weight[mine.start, carried] = 1
            attention.out_proj.weight[written, mine.start] = 2
    save(module.bfloat16() if bfloat16 else module, path)
    words(path, list(WORDS))
    return path
