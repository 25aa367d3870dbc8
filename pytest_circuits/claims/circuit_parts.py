"""The parts of a circuit, and which claims break as one of them is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from pytest_circuits.circuit.edges import Edge, Edges, live_edges
from pytest_circuits.circuit.nodes import Node, Nodes
from pytest_circuits.circuit.view import WHOLE, View
from pytest_circuits.claims import statistics
from pytest_circuits.claims.bench import EPS, Bench
from pytest_circuits.claims.card import limits_of
from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.claims.faithful.internals import unlike
from pytest_circuits.claims.necessary import still_there
from pytest_circuits.claims.stable.observation import node_effects
from pytest_circuits.claims.statistics import GAPS, Bools, Floats, softplus
from pytest_circuits.model.protocol import Model, Site, Wired
from pytest_circuits.spec.types import FaithfulClaim, edge_key


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
    for breaks in _checks(bench):
        if rest := np.flatnonzero(~broken).tolist():
            broken[rest] = breaks([parts[i] for i in rest])
    return broken


def _checks(bench: Bench) -> Iterator[Callable[[Sequence[Part]], Bools]]:
    """What can break as a part is left out, by the claims that are declared."""
    for each in bench.each:
        if bench.spec.claims.necessary:
            yield partial(_behaving, each, _without_nodes)
            if isinstance(bench.model, Wired):
                yield partial(_behaving, each, _without_edges)
        if bench.spec.claims.faithful:
            yield partial(_hurting, each)
    if bench.spec.claims.faithful:
        yield partial(_unlike, bench.constant)


def _circuits(bench: Bench, parts: Sequence[Part]) -> list[tuple[Nodes, Edges | None]]:
    """The circuit, and what is left of it without each of the parts."""
    whole = bench.nodes, bench.edges
    return [whole, *(part.taken_from(*whole) for part in parts)]


def _without_nodes(_model: Model, nodes: Nodes, _edges: Edges | None) -> View:
    return View.without(nodes)


def _without_edges(model: Model, nodes: Nodes, edges: Edges | None) -> View:
    return View.without(Nodes(()), live_edges(nodes, model, edges))


def _behaving(
    bench: Bench, without: Callable[[Model, Nodes, Edges | None], View], parts: Sequence[Part]
) -> Bools:
    """Whether the model still has the behavior without what is left of the circuit."""
    views = [without(bench.model, *circuit) for circuit in _circuits(bench, parts)]
    margins = bench.runner.margins_many(bench.gap_pairs, views)  # [1 + parts, n, 2]
    return _but_the_first([still_there(bench, found) for found in margins])


def _unlike(bench: Bench, parts: Sequence[Part]) -> Bools:
    """Whether what is left of the circuit does not run as the whole model does, seen inside."""
    limits = limits_of(bench.spec, FaithfulClaim)
    whole, *smaller = (replace(bench, nodes=n, edges=e) for n, e in _circuits(bench, parts))
    effects = node_effects(bench.runner, bench.nodes, bench.control_pairs)
    by_node = dict(zip(bench.nodes, effects.tolist(), strict=True))
    if unlike(whole, by_node, limits):
        return np.zeros(len(parts), dtype=np.bool_)
    return np.array([unlike(circuit, by_node, limits) for circuit in smaller], dtype=np.bool_)


def _hurting(bench: Bench, parts: Sequence[Part]) -> Bools:
    """Whether the worst part of the rest hurts too much only as a part is ablated with it."""
    limits, worst = limits_of(bench.spec, FaithfulClaim), bench.parts.without_worst
    views = [worst]
    for part in parts:
        cut = Edges.gather([*(worst.cut or ()), *part.edges])
        nodes = Nodes.gather([*worst.nodes, *part.nodes])
        views.append(View.without(nodes, cut if cut.count else None))
    own = softplus(bench.runner.margins(bench.gap_pairs, WHOLE)).mean(axis=1)  # [n]
    margins = bench.runner.margins_many(bench.gap_pairs, views)  # [1 + parts, n, 2]

    def hurts(margins: Floats) -> bool:
        rate = bench.gap_sample.rate(margins > EPS, bench.spec.protocol.alpha)
        gap = bench.gap_mean(softplus(margins).mean(axis=1) - own, GAPS)
        return Verdict.FAIL in (
            statistics.at_least(rate, limits.rate),
            statistics.at_most(gap, limits.max_gap),
        )

    return _but_the_first([hurts(found) for found in margins])


def _but_the_first(broken: Sequence[bool]) -> Bools:
    whole, *parts = broken
    return np.array(parts, dtype=np.bool_) & (not whole)
