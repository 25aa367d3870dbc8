"""Attention and MLP of which few channels vary.

Letters in shapes as in `folded`, and: A heads that vary, H heads, E d_head, T tokens that are
attended to, X the widest kept part of a head's queries and keys and one constant channel, Y the
same of its values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor, nn

from pytest_circuits.circuit.interventions import Cut
from pytest_circuits.compile.folded import Projection, Read, Stream
from pytest_circuits.model.sparse.config import ModelConfig
from pytest_circuits.model.sparse.gpt import Attention, Mlp

Projected = tuple["Tensor", "Tensor", "Tensor"]  # kept q, k and v of some tokens, [B, Q, ...]
Channels = dict[str, tuple[int, ...]]  # the kept channels at each hook point of a sublayer
Fill = Mapping[str, "Tensor"]  # what the channels that are not kept become, by hook point
Cuts = Mapping[str, "Cut"]  # weights that carry such a constant too, by the hook point they lead to


@dataclass(frozen=True, slots=True)
class FoldedMlp:
    """An MLP's kept neurons, and what they write."""

    read: Read
    up: Projection
    down: Projection

    @classmethod
    def of(cls, mlp: Mlp, read: Read, kept: Channels, fill: Fill, cuts: Cuts) -> FoldedMlp:
        config = mlp.config
        up = Projection.of(
            *_folded(mlp.up, kept["act_in"], fill["act_in"], cuts.get("post_act")),
            kept=kept["post_act"],
            share=config.share_at("mlp.post_act"),
            function=mlp.nonlinearity,
        )
        down = Projection.of(
            *_folded(mlp.down, kept["post_act"], fill["post_act"], cuts.get("resid_delta")),
            kept=kept["resid_delta"],
            share=config.share_at("mlp.resid_delta"),
        )
        return cls(read, up, down)

    def __call__(self, stream: Stream) -> Tensor:
        """The kept `resid_delta` channels [B, Q, kept]."""
        return self.down(self.up(self.read(stream)))


@dataclass(frozen=True, slots=True)
class FoldedAttention:
    """The heads of a layer that vary, and what they write.

    A head that keeps a query, a key or a value varies; with a sink its constant values do too, by
    the share of the attention that the sink leaves, which is one more channel of its values.
    """

    read: Read
    points: tuple[Projection, Projection, Projection]  # q, k, v
    heads: tuple[int, ...]  # [A] which heads vary
    slots: tuple[Slots, Slots, Slots]
    sink: Tensor | None  # [A]
    scale: float
    out: Projection

    @classmethod
    def of(
        cls, attn: Attention, read: Read, kept: Channels, fill: Fill, cuts: Cuts
    ) -> FoldedAttention:
        config, size = attn.config, attn.config.d_head
        heads = _varying_heads(config, kept)
        mine = {p: tuple(c for c in kept[p] if c // size in heads) for p in ("q", "k", "v")}
        to_q, to_k, to_v = (
            Projection.of(
                *_folded(linear, kept["act_in"], fill["act_in"], cuts.get(point)),
                kept=mine[point],
                share=config.share_at(f"attn.{point}"),
            )
            for point, linear in (("q", attn.q), ("k", attn.k), ("v", attn.v))
        )
        q, k = _query_and_key_slots(config, heads, mine, fill)
        v = _value_slots(config, heads, mine["v"], device=attn.q.weight.device)
        columns, constant = _written(attn, heads, mine["v"], v, fill, cut=cuts.get("resid_delta"))
        out = Projection.of(
            columns, constant, kept=kept["resid_delta"], share=config.share_at("attn.resid_delta")
        )
        sink = None if attn.sink is None else attn.sink[list(heads)]
        return cls(read, (to_q, to_k, to_v), heads, (q, k, v), sink, 1 / sqrt(size), out)

    def project(self, stream: Stream) -> Projected:
        """Kept queries, keys and values of every token of a stream."""
        x = self.read(stream)
        q, k, v = (point(x) for point in self.points)
        return q, k, v

    def weights(self, q: Tensor, k: Tensor, places: Tensor) -> Tensor:
        """Attention of Q queries at `places` [B, Q] to T keys: [B, A, Q, T], the sink left out."""
        products = torch.einsum("...qax,...tax->...aqt", self.slots[0](q), self.slots[1](k))
        scores = products * self.scale
        seen = torch.arange(k.shape[-2], device=k.device) <= places.unsqueeze(-1)  # [B, Q, T]
        scores = scores.masked_fill(~seen.unsqueeze(1), -torch.inf)
        if self.sink is None:
            return scores.softmax(-1)
        sink = self.sink.view(1, -1, 1, 1).expand(*scores.shape[:-1], 1)
        return torch.cat([scores, sink], dim=-1).softmax(-1)[..., :-1]

    def write(self, weights: Tensor, v: Tensor, places: Tensor) -> Tensor:
        """The kept `resid_delta` channels [B, Q, kept]."""
        mixed = torch.einsum("...aqt,...tay->...qay", weights, self.slots[2](v))
        return self.out(mixed.flatten(-2), places)


@dataclass(frozen=True, slots=True)
class Slots:
    """Where the kept channels of some heads go in a block of equal width for each head."""

    template: Tensor  # [A, X] what a head has there beside them
    index: Tensor  # [kept] into the flattened template

    def __call__(self, kept: Tensor) -> Tensor:
        """[B, T, kept] -> [B, T, A, X]."""
        blocks = self.template.flatten().repeat(*kept.shape[:-1], 1)
        blocks[..., self.index] = kept
        return blocks.view(*kept.shape[:-1], *self.template.shape)


def _folded(
    linear: nn.Linear, kept: Sequence[int], fill: Tensor, cut: Cut | None
) -> tuple[Tensor, Tensor]:
    """The columns of the kept inputs [D, S], and the bias with all other inputs in it [1, D]."""
    columns, added = _parted(linear.weight, kept, fill, cut)
    return columns, (linear.bias + added.sum(-1)).unsqueeze(0)


def _parted(
    weight: Tensor, kept: Sequence[int], fill: Tensor, cut: Cut | None
) -> tuple[Tensor, Tensor]:
    """The columns of the kept inputs [D, S], and what the constant of each input adds [D, in]."""
    constant = fill.clone()
    constant[list(kept)] = 0
    columns, added = weight[:, list(kept)], weight * constant
    if cut is not None:
        taken = torch.zeros_like(weight)
        taken[cut.targets[:, None], cut.sources] = cut.share[0] * cut.among(weight)
        columns, added = columns - taken[:, list(kept)], added + taken * fill
    return columns, added


def _varying_heads(config: ModelConfig, kept: Channels) -> tuple[int, ...]:
    points = ("q", "k", "v") if config.sinks else ("v",)
    return tuple(sorted({channel // config.d_head for p in points for channel in kept[p]}))


def _query_and_key_slots(
    config: ModelConfig, heads: Sequence[int], kept: Channels, fill: Fill
) -> tuple[Slots, Slots]:
    """A head's channels that queries or keys keep, then the product of those that neither does."""
    size = config.d_head
    used = {h: sorted({c for p in "qk" for c in kept[p] if c // size == h}) for h in heads}
    width = 1 + max((len(channels) for channels in used.values()), default=0)
    q, k = fill["q"].new_zeros(2, len(heads), width)
    where: dict[int, int] = {}
    for row, (head, channels) in enumerate(used.items()):
        rest = [c for c in range(head * size, (head + 1) * size) if c not in channels]
        q[row, : len(channels)], k[row, : len(channels)] = fill["q"][channels], fill["k"][channels]
        q[row, -1], k[row, -1] = 1, fill["q"][rest] @ fill["k"][rest]
        where |= {channel: row * width + slot for slot, channel in enumerate(channels)}
    return _slots(q, kept["q"], where), _slots(k, kept["k"], where)


def _value_slots(
    config: ModelConfig, heads: Sequence[int], kept: Sequence[int], *, device: torch.device
) -> Slots:
    """A head's kept values, then a one where a sink makes its other values vary."""
    of_head = {h: [c for c in kept if c // config.d_head == h] for h in heads}
    width = int(config.sinks) + max((len(channels) for channels in of_head.values()), default=0)
    template = torch.zeros(len(heads), width, device=device)
    if config.sinks:
        template[:, -1] = 1
    where = {
        channel: row * width + slot
        for row, channels in enumerate(of_head.values())
        for slot, channel in enumerate(channels)
    }
    return _slots(template, kept, where)


def _slots(template: Tensor, kept: Sequence[int], where: Mapping[int, int]) -> Slots:
    return Slots(template, torch.tensor([where[c] for c in kept], device=template.device).long())


def _written(
    attn: Attention,
    heads: Sequence[int],
    kept: Sequence[int],
    slots: Slots,
    fill: Fill,
    *,
    cut: Cut | None,
) -> tuple[Tensor, Tensor]:
    """What the mixed values write: their columns [D, A * Y] and the rest by position [P, D]."""
    config = attn.config
    written, added = _parted(attn.out.weight, kept, fill["v"], cut)
    by_head = added.view(-1, config.n_head, config.d_head).sum(-1)  # [D, H]
    columns = written.new_zeros(len(written), slots.template.numel())
    columns[:, slots.index] = written
    if config.sinks:
        columns[:, slots.template.shape[1] - 1 :: slots.template.shape[1]] = by_head[:, list(heads)]
    shares = _shares_of_constant_heads(attn, heads, fill)  # [P, H]
    return columns, attn.out.bias + shares @ by_head.T


def _shares_of_constant_heads(attn: Attention, heads: Sequence[int], fill: Fill) -> Tensor:
    """How much of its constant values a head gives at each position, [P, H].

    All of them without a sink. With one, a head whose queries and keys are constant gives what the
    sink leaves, which grows with the tokens that it sees; a head that varies is counted elsewhere.
    """
    config = attn.config
    places = torch.arange(1, config.max_tokens + 1, device=attn.q.weight.device)
    if attn.sink is None:
        return places.new_ones(len(places), config.n_head, dtype=torch.float32)
    q, k = (fill[p].view(config.n_head, config.d_head) for p in ("q", "k"))
    scores = (q * k).sum(-1) / sqrt(config.d_head)  # [H]
    shares = torch.sigmoid(places.log().unsqueeze(1) + scores - attn.sink)
    shares[:, list(heads)] = 0
    return shares
