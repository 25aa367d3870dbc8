"""The parts of a circuit, and which claims break as one of them is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pytest_circuits.circuit.edges import Edge, Edges, live_edges
from pytest_circuits.circuit.nodes import Node, Nodes
from pytest_circuits.circuit.view import WHOLE, View
from pytest_circuits.claims import statistics
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.claims.necessary import still_there
from pytest_circuits.claims.statistics import GAPS, Bools, Floats, softplus
from pytest_circuits.model.protocol import Site, Wired
from pytest_circuits.spec.types import edge_key


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    kind: str  # of hook point: random nodes of this kind are what it has to outdo
    node: Node | None = None
    edge: Edge | None = None

    @property
    def nodes(self) -> tuple[Node, ...]:
        return () if self.node is None else (self.node,)

    @property
    def edges(self) -> tuple[Edge, ...]:
        return () if self.edge is None else (self.edge,)

    def taken_from(self, nodes: Nodes, edges: Edges | None) -> tuple[Nodes, Edges | None]:
        if self.node is not None:
            return nodes.without(*self.node), edges
        return nodes, Edges.gather(edge for edge in edges or () if edge != self.edge)


def parts_of(nodes: Nodes, edges: Edges | None, sites: Mapping[str, Site]) -> list[Part]:
    """The nodes of a circuit, then its listed edges; an edge is of the kind of its target."""
    named = zip(nodes.ids(), nodes, strict=True)
    found = [Part(name, sites[node[0]].point, node=node) for name, node in named]
    for ends, (source, target) in edges or ():
        name = f"{edge_key(*ends)} [{source}, {target}]"
        found.append(Part(name, sites[ends[1]].point, edge=(ends, (source, target))))
    return found


def breaking(bench: Bench, parts: Sequence[Part]) -> Bools:
    """Which parts [n], left out, break a declared claim that holds with the whole circuit."""
    broken = np.zeros(len(parts), dtype=np.bool_)
    circuits = [(bench.nodes, bench.edges)]
    circuits += [part.taken_from(bench.nodes, bench.edges) for part in parts]
    for each in bench.each if parts else ():
        if bench.spec.claims.necessary:
            broken |= _still_there(each, [View.without(nodes) for nodes, _ in circuits])
            if isinstance(bench.model, Wired):
                cuts = [live_edges(nodes, bench.model, edges) for nodes, edges in circuits]
                broken |= _still_there(each, [View.without(Nodes(()), cut) for cut in cuts])
        if bench.spec.claims.faithful:
            broken |= _hurting(each, parts)
    return broken


def _still_there(bench: Bench, views: Sequence[View]) -> Bools:
    """Whether each view but the first shows that the model still has the behavior; it does not."""
    margins = bench.runner.margins_many(bench.gap_pairs, views)  # [1 + parts, n, 2]
    return _but_the_first([still_there(bench, found) for found in margins])


def _hurting(bench: Bench, parts: Sequence[Part]) -> Bools:
    """Whether the worst part of the rest hurts too much only as a part is ablated with it."""
    limits, worst = bench.spec.claims.faithful, bench.parts.without_worst
    assert limits is not None  # noqa: S101  (for the type checker)
    views = [worst]
    for part in parts:
        cut = Edges.gather([*(worst.cut or ()), *part.edges])
        nodes = Nodes.gather([*worst.nodes, *part.nodes])
        views.append(View.without(nodes, cut if cut.count else None))
    own = softplus(bench.runner.margins(bench.gap_pairs, WHOLE)).mean(axis=1)  # [n]
    losses: Floats = softplus(bench.runner.margins_many(bench.gap_pairs, views)).mean(axis=2)
    gaps = (bench.gap_mean(loss - own, GAPS) for loss in losses)
    return _but_the_first([statistics.at_most(gap, limits.max_gap) is Verdict.FAIL for gap in gaps])


def _but_the_first(broken: Sequence[bool]) -> Bools:
    whole, *parts = broken
    return np.array(parts, dtype=np.bool_) & (not whole)
