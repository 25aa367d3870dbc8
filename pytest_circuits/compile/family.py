"""Circuits within one: the subsets of a compiled circuit's nodes and edges, K at once.

A search tries thousands of circuits that differ in a node or an edge. They are one compiled circuit
with a gate at each of its hook points, and weights that are folded anew for each of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pytest_circuits.circuit.edges import Edges
from pytest_circuits.circuit.encoding import Batch
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.compile.compiled import CompiledCircuit, Sparse, Step, compile_circuit, tabled
from pytest_circuits.compile.folded import Gate, Projection
from pytest_circuits.compile.folded_sublayers import FoldedAttention, FoldedMlp

Member = tuple["Nodes", "Edges | None"]  # a circuit, and its edges or None for all weights


@dataclass(frozen=True, slots=True)
class Family:
    """A compiled circuit, whose subsets are run on prompts of some tokens."""

    nodes: Nodes
    within: CompiledCircuit
    fill: Mapping[str, Tensor]  # what a node that is left out becomes, [D] by hook point
    vocabulary: Tensor  # [V] ids of the tokens, sorted
    embedding: Tensor | None  # [V, M]; None: positions matter, so that there are no tables

    @classmethod
    def of(cls, model: Sparse, nodes: Nodes, fill: Mapping[str, Tensor], tokens: Tensor) -> Family:
        """The circuits within some nodes, for prompts made of the tokens that occur in `tokens`."""
        vocabulary = tokens.unique()  # type: ignore[no-untyped-call]
        within = compile_circuit(model, nodes, None, fill, vocabulary=vocabulary)
        fill = {hook: x.to(model.device) for hook, x in fill.items()}
        embedding = model.module.embed.weight[vocabulary][:, list(within.varying)]
        positional = model.module.positions is not None
        return cls(nodes, within, fill, vocabulary, None if positional else embedding)

    @torch.inference_mode()
    def preferences(self, members: Sequence[Member], batch: Batch) -> Tensor:
        """Logits of answer and foil after each prompt, for K circuits: [K, B, 2]."""
        places = torch.searchsorted(self.vocabulary, batch.tokens.contiguous())
        return self._gated(members).preferences(places, batch.last, batch.choices)

    def _gated(self, members: Sequence[Member]) -> CompiledCircuit:
        gates = _Gates(self, members)
        steps = tuple(gates.step(step) for step in self.within.steps)
        readout = self.within.readout
        readout = replace(readout, gate=gates.at("final_resid", readout.kept))
        if self.embedding is None:
            return replace(self.within, steps=steps, readout=readout)
        return tabled(self.within.varying, self.embedding, steps, readout)


class _Gates:
    """What each of K circuits within a family keeps, hook point by hook point."""

    def __init__(self, family: Family, members: Sequence[Member]) -> None:
        self._fill, self._members = family.fill, members

    def at(self, hook: str, kept: Sequence[int]) -> Gate:
        """Which of the kept channels of a hook point each circuit has."""
        fill = self._fill[hook]
        rows = [set(nodes.at(hook)) for nodes, _ in self._members]
        on = torch.tensor([[c in row for c in kept] for row in rows], dtype=torch.bool)
        return Gate(on.view(len(rows), 1, 1, len(kept)).to(fill.device), fill[list(kept)])

    def step(self, step: Step) -> Step:
        """A sublayer for each of the circuits."""
        match step.sublayer:
            case FoldedMlp() as mlp:
                return replace(step, sublayer=self._mlp(step.name, mlp))
            case FoldedAttention() as attn:
                return replace(step, sublayer=self._attention(step.name, attn))
            case None:
                return step

    def _mlp(self, name: str, mlp: FoldedMlp) -> FoldedMlp:
        read, neurons, write = (f"{name}.{p}" for p in ("act_in", "post_act", "resid_delta"))
        return FoldedMlp(
            replace(mlp.read, gate=self.at(read, mlp.read.kept)),
            self._projection(mlp.up, (read, neurons), mlp.read.kept),
            self._projection(mlp.down, (neurons, write), mlp.up.kept),
        )

    def _attention(self, name: str, attn: FoldedAttention) -> FoldedAttention:
        read = f"{name}.act_in"
        q, k, v = (
            self._projection(point, (read, f"{name}.{letter}"), attn.read.kept)
            for letter, point in zip("qkv", attn.points, strict=True)
        )
        return replace(
            attn,
            read=replace(attn.read, gate=self.at(read, attn.read.kept)),
            points=(q, k, v),
            out=self._written(attn, (f"{name}.v", f"{name}.resid_delta")),
        )

    def _projection(
        self, point: Projection, ends: tuple[str, str], sources: Sequence[int]
    ) -> Projection:
        """A linear map between two hook points, without the edges that a circuit leaves out."""
        gated = replace(point, gate=self.at(ends[1], point.kept))
        cut = self._cut(ends, sources, point.computed)
        if cut is None:
            return gated
        taken = cut * point.weight  # [K, S, C]
        added = torch.einsum("ksc,s->kc", taken, self._fill[ends[0]][list(sources)])
        bias = point.bias + added.unsqueeze(1)  # [K, 1, C]
        return replace(gated, weight=(point.weight - taken).unsqueeze(1), bias=bias.unsqueeze(1))

    def _written(self, attn: FoldedAttention, ends: tuple[str, str]) -> Projection:
        """What the mixed values of the heads write, in the same way.

        The constant that a value becomes is mixed too: with a sink it is what the sink leaves of
        it, which is the last feature of its head.
        """
        point, values, sources = attn.out, attn.slots[2], attn.points[2].kept
        gated = replace(point, gate=self.at(ends[1], point.kept))
        cut = self._cut(ends, sources, point.computed)
        if cut is None:
            return gated
        taken = cut * point.weight[values.index]  # [K, S, C]
        added = taken * self._fill[ends[0]][list(sources), None]
        weight = point.weight.repeat(len(cut), 1, 1).index_add(1, values.index, -taken)
        bias = point.bias.expand(len(cut), -1, -1)  # [K, P, C]
        if attn.sink is None:
            bias = bias + added.sum(1, keepdim=True)
        else:
            width = values.template.shape[1]
            weight = weight.index_add(1, values.index // width * width + width - 1, added)
        return replace(gated, weight=weight.unsqueeze(1), bias=bias)

    def _cut(
        self, ends: tuple[str, str], sources: Sequence[int], targets: Sequence[int]
    ) -> Tensor | None:
        """1 for each weight that a circuit cuts: to a node of its own, and not listed.

        [K, sources, targets], or None where no circuit lists edges.
        """
        if all(edges is None for _, edges in self._members):
            return None
        columns, rows = ({c: i for i, c in enumerate(some)} for some in (targets, sources))
        cut = torch.zeros(len(self._members), len(sources), len(targets))
        for k, (nodes, edges) in enumerate(self._members):
            if edges is None:
                continue
            cut[k, :, [columns[c] for c in nodes.at(ends[1]) if c in columns]] = 1
            listed = ((i, j) for i, j in edges.between(ends) if i in rows and j in columns)
            among = [(rows[i], columns[j]) for i, j in listed]
            cut[k, [i for i, _ in among], [j for _, j in among]] = 0
        return cut.to(self._fill[ends[0]].device)
