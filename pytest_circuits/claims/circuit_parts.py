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
from pytest_circuits.claims.necessary import shown_gone, still_there
from pytest_circuits.claims.sample import Sample
from pytest_circuits.claims.stable.observation import node_effects
from pytest_circuits.claims.statistics import GAPS, Bools, softplus
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
    """Which parts [n], left out, break a declared claim that holds with the whole circuit.

    First those without which some pairs show that it does not hold; then, of the others, those
    without which the claim's own prompts no longer show that it does, as things are or where what
    is left is attacked anew.
    """
    broken = np.zeros(len(parts), dtype=np.bool_)
    for breaks in _checks(bench):
        if rest := np.flatnonzero(~broken).tolist():
            broken[rest] = breaks([parts[i] for i in rest])
    return broken


def _checks(bench: Bench) -> Iterator[Callable[[Sequence[Part]], Bools]]:
    """What can break as a part is left out, by the claims that are declared."""
    for sample, hold in ((bench.gap_sample, False), (bench.sample, True)):
        for each in bench.each:
            if bench.spec.claims.necessary:
                yield partial(_behaving, each, sample, _without_nodes, hold)
                if isinstance(bench.model, Wired):
                    yield partial(_behaving, each, sample, _without_edges, hold)
            if bench.spec.claims.faithful:
                yield partial(_hurting, each, sample, hold)
        if bench.spec.claims.faithful and not hold:
            yield partial(_unlike, bench.constant)
    if bench.spec.claims.faithful:
        for each in bench.each:
            yield partial(_attacked, each)


def _circuits(bench: Bench, parts: Sequence[Part]) -> list[tuple[Nodes, Edges | None]]:
    """The circuit, and what is left of it without each of the parts."""
    whole = bench.nodes, bench.edges
    return [whole, *(part.taken_from(*whole) for part in parts)]


def _without_nodes(_model: Model, nodes: Nodes, _edges: Edges | None) -> View:
    return View.without(nodes)


def _without_edges(model: Model, nodes: Nodes, edges: Edges | None) -> View:
    return View.without(Nodes(()), live_edges(nodes, model, edges))


def _behaving(
    bench: Bench,
    sample: Sample,
    without: Callable[[Model, Nodes, Edges | None], View],
    hold: bool,  # noqa: FBT001  (see `_checks`)
    parts: Sequence[Part],
) -> Bools:
    """Whether the model still has the behavior without what is left of the circuit.

    hold: or whether it is not shown any more that it has not.
    """
    views = [without(bench.model, *circuit) for circuit in _circuits(bench, parts)]
    margins = bench.runner.margins_many(sample.pairs, views)  # [1 + parts, n, 2]
    if hold:
        return _but_the_first([not shown_gone(bench, found) for found in margins])
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


def _hurting(
    bench: Bench,
    sample: Sample,
    hold: bool,  # noqa: FBT001  (see `_checks`)
    parts: Sequence[Part],
) -> Bools:
    """Whether the worst part of the rest hurts too much only as a part is ablated with it.

    hold: or whether it is not shown any more that it does not.
    """
    worst = bench.parts.without_worst
    views = [worst]
    for part in parts:
        cut = Edges.gather([*(worst.cut or ()), *part.edges])
        nodes = Nodes.gather([*worst.nodes, *part.nodes])
        views.append(View.without(nodes, cut if cut.count else None))
    return _but_the_first(_too_much(bench, sample, views, hold=hold))


def _attacked(bench: Bench, parts: Sequence[Part]) -> Bools:
    """Whether an attack on what is left of the circuit finds what hurts too much."""
    each = [replace(bench, nodes=n, edges=e) for n, e in _circuits(bench, parts)]
    views = [one.parts.without_worst for one in each]
    return _but_the_first(_too_much(bench, bench.sample, views, hold=True))


def _too_much(bench: Bench, sample: Sample, views: Sequence[View], *, hold: bool) -> list[bool]:
    """Of runs with parts of the rest ablated, whether each is shown to hurt too much.

    hold: or whether it is not shown that it does not.
    """
    limits, alpha = limits_of(bench.spec, FaithfulClaim), bench.spec.protocol.alpha
    own = softplus(bench.runner.margins(sample.pairs, WHOLE)).mean(axis=1)  # [n]
    found = []
    for margins in bench.runner.margins_many(sample.pairs, views):
        gap = sample.mean((softplus(margins).mean(axis=1) - own)[:, None], alpha, GAPS)
        verdicts = {
            statistics.at_least(sample.rate(margins > EPS, alpha), limits.rate),
            statistics.at_most(gap, limits.max_gap),
        }
        found.append(verdicts != {Verdict.PASS} if hold else Verdict.FAIL in verdicts)
    return found


def _but_the_first(broken: Sequence[bool]) -> Bools:
    whole, *parts = broken
    return np.array(parts, dtype=np.bool_) & (not whole)
