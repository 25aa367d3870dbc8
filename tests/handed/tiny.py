"""A module of torch that the package has never heard of, and whose circuit is known.

As in `tests.huggingface.side`, the token after `now` is the side that the first word names. Two
heads do it: one of the first layer looks from `now` at that word, one of the second at `now`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pytest_circuits import SiteAt
from tests.huggingface.side import WORDS

WIDTH, HEADS, NEURONS, LAYERS = 32, 16, 12, 2
PAIR = (5, 11)  # the heads that do it, one of each layer
CIRCUIT = {"0.attn.head": [PAIR[0]], "1.attn.head": [PAIR[1]]}
SITES = {
    "attn.head": SiteAt("blocks.{layer}.attention.out", "head", nodes=HEADS),
    "mlp.neuron": SiteAt("blocks.{layer}.down", "neuron"),
    "resid": SiteAt("blocks.{layer}", "residual"),
    "final_resid": SiteAt("last", "residual"),
    "attn.pattern": SiteAt("blocks.{layer}.attention.look", "pattern", output=True),
    "attn.scale": SiteAt("blocks.{layer}.norm", "scale"),
    "final_scale": SiteAt("last", "scale"),
}
_NAMED, _SIDE, _NOW, _RELAY, _SAID = range(5)  # channels of the residual stream


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        self.look = nn.Softmax(dim=-1)

    def forward(self, x: Tensor) -> Tensor:  # [N, T, D]
        q, k, v = (
            each(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for each in (self.q, self.k, self.v)
        )
        later = torch.ones(x.shape[1], x.shape[1], device=x.device).triu(1).bool()
        scores = (q @ k.mT / (WIDTH // HEADS) ** 0.5).masked_fill(later, -torch.inf)
        mixed: Tensor = self.look(scores) @ v
        return self.out(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.attention = nn.RMSNorm(WIDTH, eps=1e-6), Attention()
        self.up, self.down = nn.Linear(WIDTH, NEURONS), nn.Linear(NEURONS, WIDTH)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm(x))
        return x + self.drop(self.down(self.up(x).relu()))  # type: ignore[no-any-return]


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(len(WORDS), WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.last = nn.RMSNorm(WIDTH, eps=1e-6)
        self.unembed = nn.Linear(WIDTH, len(WORDS), bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.unembed(self.last(x))  # type: ignore[no-any-return]


class Words:
    """A tokenizer of its own: each word is a token."""

    def encode(self, text: str) -> list[int]:
        return [WORDS.index(word) if word in WORDS else 0 for word in text.split()]

    def decode(self, ids: list[int]) -> str:
        return f" {WORDS[ids[0]]}"


def build(*, pair: tuple[int, int] = PAIR, seed: int = 0) -> Any:  # noqa: ANN401  (parts of it)
    """The module, with the heads that do it; seed: of all weights that do nothing much."""
    module: Any = Tiny().eval()
    generator = torch.Generator().manual_seed(seed)
    at = {word: i for i, word in enumerate(WORDS)}
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if "norm" not in name and "last" not in name:
                weight.normal_(std=0.02, generator=generator)
        for word in ("left", "right"):
            module.embed.weight[at[word], _NAMED] = 4
            module.embed.weight[at[word], _SIDE] = 4 if word == "left" else -4
        module.embed.weight[at["now"], _NOW] = 4
        module.unembed.weight[[at["L"], at["R"]], _SAID] = torch.tensor([1.0, -1.0])
        roads = ((_NAMED, _SIDE, _RELAY), (_NOW, _RELAY, _SAID))
        for block, head, (looked_at, carried, written) in zip(
            module.blocks, pair, roads, strict=True
        ):
            attention, channel = block.attention, head * (WIDTH // HEADS)
            attention.q.weight[channel, _NOW] = 2  # what it asks
            attention.k.weight[channel, looked_at] = 2  # what answers
            attention.v.weight[channel, carried] = 1
            attention.out.weight[written, channel] = 1
    return module
