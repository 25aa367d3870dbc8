"""A model in the making: which channels, heads and neurons are still free, and what they do.

Every token's embedding has the same length, to which a channel that is constant everywhere adds
most. So RMSNorm changes next to nothing, the paths are close to linear outside of their softmax,
and ablating noise does not turn up the signal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt

import torch
from torch import Tensor

from pytest_circuits.model.sparse.config import ModelConfig
from pytest_circuits.model.sparse.gpt import SparseGPT
from tests.known_models.copier import Circuit
from tests.known_models.text import ReferenceText, generator

D_HEAD, D_MLP, N_LAYER = 8, 64, 2
BALLAST = 0.75  # length of the constant channel, where that of a whole embedding is 1
MARK = 1.5  # what a word puts into a channel that marks it


@dataclass(slots=True)
class Draft:
    """Weights, zero at first, and shuffled lists of what nothing uses yet."""

    text: ReferenceText
    seed: int
    width: int = 64  # of the residual stream, and of all heads together
    state: dict[str, Tensor] = field(init=False)
    channels: list[int] = field(init=False)
    heads: list[list[int]] = field(init=False)  # by layer
    neurons: list[list[int]] = field(init=False)  # by layer
    random: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.random = generator(self.seed)
        self.state = {
            name: torch.ones_like(tensor) if "norm" in name else torch.zeros_like(tensor)
            for name, tensor in SparseGPT(self.config).state_dict().items()
        }
        self.channels = self.shuffled(self.width)
        self.heads = [self.shuffled(self.width // D_HEAD) for _ in range(N_LAYER)]
        self.neurons = [self.shuffled(D_MLP) for _ in range(N_LAYER)]
        self.embed[:, self.channels.pop()] = BALLAST * sqrt(self.width)

    @property
    def config(self) -> ModelConfig:
        """The smallest architecture that has all sublayers, and nothing that blurs a path."""
        return ModelConfig(
            vocab_size=self.text.tokenizer.vocab_size,
            n_layer=N_LAYER,
            d_model=self.width,
            d_head=D_HEAD,
            d_mlp=D_MLP,
            max_tokens=64,
            activation="relu",
            activation_share=1.0,
            sinks=False,
            bigram=False,
        )

    @property
    def embed(self) -> Tensor:
        """[V, D]."""
        return self.state["embed.weight"]

    @property
    def unembed(self) -> Tensor:
        """[V, D]."""
        return self.state["unembed.weight"]

    def shuffled(self, count: int) -> list[int]:
        """The numbers below a count in random order."""
        order: list[int] = torch.randperm(count, generator=self.random).tolist()
        return order

    def below(self, count: int) -> int:
        """A random number below a count."""
        return int(torch.randint(count, (1,), generator=self.random))

    def about(self, size: float, *, spread: float = 0.06) -> float:
        """A size that differs a little from seed to seed."""
        return size * (1 + spread * (2 * float(torch.rand(1, generator=self.random)) - 1))

    def normal(self, *shape: int) -> Tensor:
        """Independent normal numbers."""
        return torch.randn(*shape, generator=self.random)

    def mark(self, values: Mapping[str, float], *, spread: float = 0.06) -> int:
        """A channel in which each of these words has its value, and every other word zero."""
        channel = self.channels.pop()
        size = self.about(MARK, spread=spread)
        for word, value in values.items():
            self.embed[self.text.ids(word), channel] = size * value
        return channel

    def prefer(self, channel: int, *, answer: str, foil: str, size: float) -> None:
        """Let a channel of the residual stream speak for one token and against another.

        The words stand here as they follow a prompt, with the space if there is one.
        """
        for word, sign in ((answer, 1.0), (foil, -1.0)):
            (index,) = self.text.tokenizer.encode(word)
            self.unembed[index, channel] += sign * size

    def module(self) -> SparseGPT:
        """The finished model."""
        module = SparseGPT(self.config)
        module.load_state_dict(self.state)
        return module


def head(
    draft: Draft,
    *,
    layer: int,
    value: int,
    write: int,
    size: float,
    key: int | None = None,
    query: int | None = None,
    sharp: float = 9.0,
) -> Circuit:
    """A head of its own that copies a channel to another; returns the nodes that vary.

    Args:
        layer: where it stands.
        value: the channel that it copies.
        write: the channel that it writes.
        size: how much of the marked value arrives, when all attention is on one token.
        key: the channel whose activation draws attention; without it attention is even.
        query: the channel that says, in which direction; without it the query is constant.
        sharp: attention logit of a marked key under a marked query.

    """
    first = D_HEAD * draft.heads[layer].pop()
    match, copied = first + draft.below(D_HEAD), first + draft.below(D_HEAD)
    nodes = {
        f"{layer}.attn.act_in": sorted({i for i in (query, key, value) if i is not None}),
        f"{layer}.attn.v": [copied],
        f"{layer}.attn.resid_delta": [write],
    }
    if key is not None:
        aim(draft, layer=layer, channel=match, key=key, query=query, sharp=sharp)
        nodes[f"{layer}.attn.k"] = [match]
    if query is not None:
        nodes[f"{layer}.attn.q"] = [match]
    draft.state[f"attn.{layer}.v.weight"][copied, value] = 1.0
    draft.state[f"attn.{layer}.out.weight"][write, copied] = draft.about(size / MARK, spread=0.03)
    return nodes


def aim(
    draft: Draft, *, layer: int, channel: int, key: int, query: int | None, sharp: float
) -> None:
    """Let one channel of a head match a query with keys."""
    scale = sqrt(draft.about(sharp) * sqrt(D_HEAD)) / MARK
    draft.state[f"attn.{layer}.k.weight"][channel, key] = scale
    if query is None:
        draft.state[f"attn.{layer}.q.bias"][channel] = scale * MARK
    else:
        draft.state[f"attn.{layer}.q.weight"][channel, query] = scale


def neuron(
    draft: Draft, *, layer: int, read: int, write: int, gain: float, above: float, size: float
) -> Circuit:
    """A neuron that fires as a channel goes above a value; returns its nodes."""
    index = draft.neurons[layer].pop()
    draft.state[f"mlp.{layer}.up.weight"][index, read] = gain
    draft.state[f"mlp.{layer}.up.bias"][index] = -gain * above
    draft.state[f"mlp.{layer}.down.weight"][write, index] = size
    return {
        f"{layer}.mlp.act_in": [read],
        f"{layer}.mlp.post_act": [index],
        f"{layer}.mlp.resid_delta": [write],
    }


def output(channel: int) -> Circuit:
    """The node that the unembedding reads."""
    return {"final_resid": [channel]}


def fit_embeddings(draft: Draft, noise: Sequence[int]) -> None:
    """Stretch the noise of every token's embedding until all embeddings are equally long."""
    signal = draft.embed.clone()
    signal[:, list(noise)] = 0
    room = (draft.width - signal.square().sum(1)).clamp(min=1.0)  # [V]
    length = draft.embed[:, list(noise)].norm(dim=1)  # [V]
    draft.embed[:, list(noise)] *= (room.sqrt() / length)[:, None]
