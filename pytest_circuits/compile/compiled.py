"""Compile a circuit: with everything else constant, its nodes are a tiny network.

Under `mean` and `zero` ablation every activation outside the circuit is a constant, so that it
folds into biases. What AbsTopK keeps still depends on every channel of a hook point: of those that
are constant a short window of sorted magnitudes decides (`folded.Cut`). Whatever lies before the
first attention that matters depends on the token alone and becomes a table over the vocabulary.

The logits are those of the ablated model up to rounding. Where two magnitudes are as good as equal
and AbsTopK keeps one of them, rounding decides, here as between two devices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor

from pytest_circuits.circuit.edges import Edges
from pytest_circuits.circuit.interventions import Cut
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.view import View, cut_weights
from pytest_circuits.compile.folded import Read, Readout, Stream
from pytest_circuits.compile.folded_sublayers import Channels, FoldedAttention, FoldedMlp, Projected
from pytest_circuits.model.protocol import Model, Wired
from pytest_circuits.model.sparse.config import POINTS, ModelConfig
from pytest_circuits.model.sparse.gpt import Attention, Mlp, SparseGPT, only
from pytest_circuits.model.sparse.rmsnorm import RMSNorm
from pytest_circuits.model.sparse.selection import abs_top_k


class Sparse(Wired, Model, Protocol):
    """A weight-sparse GPT as a model: this much of the adapter is needed here."""

    @property
    def config(self) -> ModelConfig:
        """Its shape."""

    @property
    def module(self) -> SparseGPT:
        """Its weights."""


@dataclass(frozen=True, slots=True)
class Step:
    """One sublayer: what it adds to the varying channels of the residual stream."""

    name: str  # such as `0.attn`
    sublayer: FoldedAttention | FoldedMlp | None  # None: nothing that it writes varies
    delta: Tensor  # [M] what it adds to channels whose write is constant
    writes: Tensor  # [kept] which of the varying channels it writes
    share: float  # that AbsTopK keeps of the residual stream after it

    def add(self, stream: Stream, written: Tensor | None) -> Stream:
        """The stream after the sublayer; written: [B, Q, kept]."""
        delta = self.delta
        if written is not None:
            delta = delta.repeat(*written.shape[:-1], 1)
            delta[..., self.writes] = written
        values = abs_top_k(stream.values + delta, self.share)
        return Stream(stream.tokens, stream.places, values)


@dataclass(frozen=True, slots=True)
class CompiledCircuit:
    """A circuit as a network of its own; the logits of the model with all else ablated."""

    varying: tuple[int, ...]  # [M] channels of the residual stream that are carried along
    steps: tuple[Step, ...]
    start: int  # the first step that is not in the tables
    embedding: Tensor  # [V, M] varying channels before it
    projected: Projected | None  # its kept q, k and v, for every token of the vocabulary
    positions: Tensor | None  # [P, M] what is added to the embedding at each position
    readout: Readout

    @torch.inference_mode()
    def logits(self, tokens: Tensor, *, at: Tensor | None = None) -> Tensor:
        """Logits after each token of prompts [B, T], or after one of each, at: [B].

        Returns [B, T, V] or [B, V].
        """
        stream = self._run(tokens, at=at)
        logits = self.readout.logits(stream)
        return logits if at is None else logits.squeeze(1)

    @torch.inference_mode()
    def preferences(self, tokens: Tensor, at: Tensor, choices: Tensor) -> Tensor:
        """Logits of `choices` [B, 2] after one token `at` [B] of each prompt [B, T]: [B, 2]."""
        return self.readout.preferences(self._run(tokens, at=at), choices)

    @torch.inference_mode()
    def attention(self, tokens: Tensor) -> dict[tuple[str, int], Tensor]:
        """Attention of the varying heads, by sublayer and head: [B, T, T], the sink left out."""
        found: dict[tuple[str, int], Tensor] = {}

        def record(step: Step, weights: Tensor) -> None:
            heads = cast("FoldedAttention", step.sublayer).heads
            found.update({(step.name, h): weights[:, i] for i, h in enumerate(heads)})

        self._run(tokens, at=None, record=record)
        return found

    def _run(
        self,
        tokens: Tensor,
        *,
        at: Tensor | None,
        record: Callable[[Step, Tensor], None] = lambda _step, _weights: None,
    ) -> Stream:
        """The stream before the readout, at all tokens or at those of `at`.

        After the keys and values of the last attention only those tokens are needed.
        """
        places = torch.arange(tokens.shape[1], device=tokens.device).unsqueeze(0)  # [1, T]
        values = self.embedding[..., tokens, :]
        if self.positions is not None:
            values = values + self.positions[places]
        stream = Stream(tokens, places, values)
        steps = self.steps[self.start :]
        attends = [isinstance(step.sublayer, FoldedAttention) for step in steps]
        last = max((i for i, attention in enumerate(attends) if attention), default=-1)
        if at is not None and last < 0:
            stream = stream.only(at)
        for index, step in enumerate(steps):
            written: Tensor | None = None
            match step.sublayer:
                case FoldedAttention() as attn:
                    tabled = self.projected if index == 0 else None
                    q, k, v = (
                        attn.project(stream)
                        if tabled is None
                        else tuple(table[..., tokens, :] for table in tabled)
                    )
                    if at is not None and index == last:
                        stream = stream.only(at)
                        q = only(q, at)
                    weights = attn.weights(q, k, stream.places)
                    record(step, weights)
                    written = attn.write(weights, v, stream.places)
                case FoldedMlp() as mlp:
                    written = mlp(stream)
            stream = step.add(stream, written)
        return stream


@torch.inference_mode()
def compile_circuit(
    model: Sparse,
    nodes: Nodes,
    edges: Edges | None,
    fill: Mapping[str, Tensor],
    *,
    vocabulary: Tensor | None = None,
) -> CompiledCircuit:
    """The circuit of some nodes as a network, with everything else constant.

    fill: what everything else is, [D] by site. edges: through which the nodes see each other;
    None: through every weight between them.
    vocabulary: [V] ids of the only tokens that will stand in prompts; the network then takes their
    places in it. None: every token of the model.
    """
    device = model.device
    fill = {hook: x.to(device) for hook, x in fill.items()}
    kept = {hook: nodes.at(hook) for hook in model.sites}
    cuts = cut_weights([View.circuit(nodes, edges)], model)
    by_target = {target: cut for (_, target), cut in cuts.items()}
    _drop_what_nothing_reads(kept, model.config)
    varying = _varying_channels(kept, model.config)
    embed = model.module.embed.weight
    embed = embed if vocabulary is None else embed[vocabulary]
    steps = tuple(_fold(model, kept, fill, by_target, varying=varying, embed=embed))
    final, rest = kept["final_resid"], fill["final_resid"]
    readout = Readout.of(model.module, final, rest, varying=varying, vocabulary=vocabulary)
    embedding = embed[:, varying]
    positions = model.module.positions
    if positions is None:
        return tabled(varying, embedding, steps, readout)
    added = positions[:, varying] if model.config.positions == "added" else None
    return CompiledCircuit(tuple(varying), steps, 0, embedding, None, added, readout)


def _drop_what_nothing_reads(kept: Channels, config: ModelConfig) -> None:
    """Take out the writes that come after all that reads them."""
    read = set(kept["final_resid"])
    for layer in reversed(range(config.n_layer)):
        for kind in ("mlp", "attn"):
            writes = f"{layer}.{kind}.resid_delta"
            if config.share_at(f"{kind}.resid") < 1:
                read = set(range(config.d_model))
            kept[writes] = tuple(c for c in kept[writes] if c in read)
            if kept[writes]:
                read = set(range(config.d_model))


def _varying_channels(kept: Channels, config: ModelConfig) -> list[int]:
    """Channels of the residual stream that are carried along: written or read by the circuit.

    All of them where a cut of the stream or positions that are added make each of them vary.
    """
    cut = min(config.share_at("attn.resid"), config.share_at("mlp.resid")) < 1
    if cut or config.positions == "added":
        return list(range(config.d_model))
    found = set(kept["final_resid"])
    for layer in range(config.n_layer):
        for kind in POINTS:
            writes = kept[f"{layer}.{kind}.resid_delta"]
            reads = kept[f"{layer}.{kind}.act_in"] if writes else ()
            found |= {*writes, *(c for c in reads if c < config.d_model)}
    return sorted(found)


def _fold(
    model: Sparse,
    kept: Channels,
    fill: Mapping[str, Tensor],
    cuts: Mapping[str, Cut],
    *,
    varying: Sequence[int],
    embed: Tensor,
) -> list[Step]:
    config, module = model.config, model.module
    place = {channel: i for i, channel in enumerate(varying)}
    deltas: list[Tensor] = []
    steps = []
    for layer, sublayers in enumerate(module.layers()):
        for kind, sublayer in zip(POINTS, sublayers, strict=True):
            name = f"{layer}.{kind}"
            mine = {point: kept[f"{name}.{point}"] for point in POINTS[kind]}
            constants = {point: fill[f"{name}.{point}"] for point in POINTS[kind]}
            cut = {p: cuts[f"{name}.{p}"] for p in POINTS[kind] if f"{name}.{p}" in cuts}
            folded = None
            if mine["resid_delta"]:
                read = Read.of(
                    _constant_stream(embed, tuple(deltas)),
                    vocabulary=len(embed),
                    varying=varying,
                    weight=sublayer.norm.weight,
                    rows=_position_rows(module.positions, sublayer.position_norm),
                    kept=mine["act_in"],
                    share=config.share_at(f"{kind}.act_in"),
                )
                folded = (
                    FoldedAttention.of(cast("Attention", sublayer), read, mine, constants, cut)
                    if kind == "attn"
                    else FoldedMlp.of(cast("Mlp", sublayer), read, mine, constants, cut)
                )
            delta = constants["resid_delta"]
            deltas.append(delta)
            writes = torch.tensor([place[c] for c in mine["resid_delta"]], device=delta.device)
            share = config.share_at(f"{kind}.resid")
            steps.append(Step(name, folded, delta[list(varying)], writes.long(), share))
    return steps


def _constant_stream(embed: Tensor, deltas: Sequence[Tensor]) -> Callable[[Tensor], Tensor]:
    """Tokens to the stream [N, D] as it is where nothing varies, summed in the model's order."""

    def stream(ids: Tensor) -> Tensor:
        resid = embed[ids]
        for delta in deltas:
            resid = resid + delta
        return resid

    return stream


def _position_rows(positions: Tensor | None, norm: RMSNorm | None) -> Tensor | None:
    return None if positions is None or norm is None else norm.forward(positions)


def tabled(
    varying: Sequence[int], embedding: Tensor, steps: tuple[Step, ...], readout: Readout
) -> CompiledCircuit:
    """Run what depends on the token alone for the whole vocabulary: all before an attention.

    embedding: [V, M], without position information.
    """
    ids = torch.arange(len(embedding), device=embedding.device).unsqueeze(1)  # [V, 1]
    stream = Stream(ids, torch.zeros_like(ids), embedding.unsqueeze(1))
    projected: Projected | None = None
    start = 0
    for step in steps:
        if isinstance(step.sublayer, FoldedAttention):
            q, k, v = step.sublayer.project(stream)
            projected = (q.squeeze(-2), k.squeeze(-2), v.squeeze(-2))
            break
        stream = step.add(stream, None if step.sublayer is None else step.sublayer(stream))
        start += 1
    table = stream.values.squeeze(-2)
    return CompiledCircuit(tuple(varying), steps, start, table, projected, None, readout)
