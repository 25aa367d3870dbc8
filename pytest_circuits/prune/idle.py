"""Leave out what does nothing where a circuit runs alone, unless a claim needs it.

A search keeps room below what the claims ask for. A part that is in the circuit for that room
alone, and does nothing in it, is one that the claim `minimal` calls not needed.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pytest_circuits.circuit.edges import Edges, live_edges
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.view import View
from pytest_circuits.compile.family import Member
from pytest_circuits.prune.hold import LAST, ROUNDS, attacks
from pytest_circuits.prune.quality import FEW, Judge

_IDLE = 0.01  # nats of margin: what a part does less than that where the circuit runs alone


def spare(judge: Judge, nodes: Nodes, edges: Edges) -> tuple[Nodes, Edges]:
    """The circuit without its idle parts, all of them or one after the other."""
    without = [smaller for smaller, effect in _smaller(judge, nodes, edges) if effect < _IDLE]
    if not without:
        return nodes, edges
    kept = nodes, edges
    every = (
        Nodes.gather(set(nodes).intersection(*(set(n) for n, _ in without))),
        Edges.gather(edge for edge in edges if all(edge in set(e) for _, e in without)),
    )
    for nodes_left, edges_left in (every, *without):
        left = Nodes.gather(set(kept[0]).intersection(nodes_left))
        among = set(edges_left)
        listed = Edges.gather(edge for edge in kept[1] if edge in among)
        candidate = left, live_edges(left, judge.runner.model, listed)
        if candidate != kept and _is_enough(judge, candidate):
            kept = candidate
    return kept


def _is_enough(judge: Judge, member: tuple[Nodes, Edges]) -> bool:
    if not member[0].count or not judge.reaches(member):
        return False
    return judge.demands.max_gap is None or not attacks(
        judge, *member, number=ROUNDS, attempts=LAST
    )


def _smaller(
    judge: Judge, nodes: Nodes, edges: Edges
) -> Iterator[tuple[tuple[Nodes, Edges], float]]:
    """The circuit without each of its parts, and what that moves of its margins, in nats."""
    model = judge.runner.model
    smaller = [(left := nodes.without(*node), live_edges(left, model, edges)) for node in nodes]
    smaller += [(nodes, Edges.gather(e for e in edges if e != edge)) for edge in edges]
    pairs = judge.pairs[:: -(-len(judge.pairs) // FEW)]
    members: list[Member] = [(nodes, edges), *smaller]
    effects = np.zeros(len(smaller))
    for ablation in judge.demands.ablations:
        runner = judge.runner.under(ablation)
        own, *others = runner.margins_many(pairs, [View.circuit(*member) for member in members])
        moved = [float(np.abs(margins - own).mean()) for margins in others]
        effects = np.maximum(effects, moved)
    yield from zip(smaller, effects.tolist(), strict=True)
