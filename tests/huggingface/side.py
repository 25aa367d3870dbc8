"""A tiny GPT-2 whose circuit is known: the token after `now` is the side that the first word names.

Two heads do it, whose weights were set by hand. One of the first layer looks from `now` at the word
that names a side, and writes which one it is; one of the second layer looks at `now` itself, and
writes that where the unembedding reads it. All other weights are small random ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tests.huggingface.families import make, save, words

HEADS, SIZE = 16, 2  # SIZE channels of a head
PAIR = (5, 11)  # the heads that do it, one of each layer
CIRCUIT = {"0.attn.head": [5], "1.attn.head": [11]}
FILLING = tuple(f"w{i}" for i in range(20))
WORDS = ("<unk>", "left", "right", "L", "R", "now", *FILLING)
_NAMED, _SIDE, _NOW, _RELAY, _SAID = range(5)  # channels of the residual stream
BEHAVIOR = f"""behavior:
  prompt: "{{cue}} {{filling}} now"
  slots:
    filling: {{words: {{from: [{", ".join(FILLING)}], count: [1, 4], separator: " "}}}}
  contrast:
    cue: {{left: " L", right: " R"}}
"""
CLAIMS = {
    "behaves": "{rate: 0.95}",
    "sufficient": "{rate: 0.95, max_loss: 0.2}",
    "necessary": "{max_rate: 0.75}",
}


def write(
    path: Path,
    *,
    pair: tuple[int, int] = PAIR,
    seed: int = 0,
    bfloat16: bool = False,
    twin: int | None = None,
) -> Path:
    """Write the model, with the heads that do it; twin: a second one that does as the last does."""
    module = make("gpt2", seed=seed, vocab_size=len(WORDS), n_head=HEADS)
    at = {word: i for i, word in enumerate(WORDS)}
    with torch.no_grad():
        for name, weight in module.named_parameters():
            weight.mul_(0.1)
            if ".ln_" in name:
                weight.fill_(float(name.endswith("weight")))
        embedding = module.transformer.wte.weight
        module.transformer.wpe.weight.zero_()
        embedding[:, :8] = 0
        embedding[:, 8:] *= 40
        embedding[: at["w0"]] = 0
        embedding[at["left"], [_NAMED, _SIDE]] = torch.tensor([4.0, 4.0])
        embedding[at["right"], [_NAMED, _SIDE]] = torch.tensor([4.0, -4.0])
        embedding[at["now"], _NOW] = 4
        embedding[at["L"], _SAID], embedding[at["R"], _SAID] = 0.6, -0.6
        first, last = module.transformer.h
        roads = [(first, pair[0], (_NAMED, _SIDE, _RELAY)), (last, pair[1], (_NOW, _RELAY, _SAID))]
        if twin is not None:
            roads.append((last, twin, (_NOW, _RELAY, _SAID)))
        for layer, head, road in roads:
            (looked_at, carried, written), channel = road, head * SIZE
            layer.attn.c_attn.weight[_NOW, channel] = 2  # what it asks
            layer.attn.c_attn.weight[looked_at, 32 + channel] = 2  # what answers
            layer.attn.c_attn.weight[carried, 64 + channel] = 1
            layer.attn.c_proj.weight[channel, written] = 2
    save(module.bfloat16() if bfloat16 else module, path)
    words(path, list(WORDS))
    return path


def spec(
    *, nodes: dict[str, list[int]] | None = None, sites: str = "[attn.head]", **more: str
) -> str:
    """The specification of its behavior; more: further claims."""
    listed = "".join(f"  {site}: {list(some)}\n" for site, some in (nodes or {}).items())
    claims = "".join(f"  {name}: {limits}\n" for name, limits in (CLAIMS | more).items())
    return (
        f"version: 1\ncircuit: side\nmodel: ../model\n{BEHAVIOR}ablation: [mean, contrast]\n"
        + (f"sites: {sites}\n" if sites else "")
        + (f"nodes:\n{listed}" if listed else "")
        + f"claims:\n{claims}protocol: {{pairs: 100, search: 10, controls: 19}}\n"
    )


def reference_text(path: Path) -> Path:
    """Text to measure means on: prompts one after the other."""
    rng = np.random.default_rng(9)
    parts = (
        [("left", "right")[rng.integers(2)], *rng.choice(FILLING, rng.integers(1, 5)), "now"]
        for _ in range(400)
    )
    path.write_text(" ".join(" ".join(part) for part in parts))
    return path
