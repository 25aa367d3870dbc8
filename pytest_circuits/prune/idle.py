"""Leave out what does nothing where a circuit runs alone, unless a claim needs it.

A search keeps room below what the claims ask for. A part that is in the circuit for that room
alone, and does nothing in it, is one that the claim `minimal` calls not needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pytest_circuits.circuit.edges import Edges, live_edges
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.view import View
from pytest_circuits.compile.family import Member
from pytest_circuits.prune.hold import LAST, ROUNDS, attacks
from pytest_circuits.prune.judge import FEW, Judge

_Circuit = tuple[Nodes, Edges]

_IDLE = 0.01  # nats of margin: what a part does less than that where the circuit runs alone


def spare(judge: Judge, nodes: Nodes, edges: Edges) -> _Circuit:
    """The circuit without its idle parts: all of them, or half of them at a time, or each alone."""
    idle = [smaller for smaller, effect in _smaller(judge, nodes, edges) if effect < _IDLE]
    kept, untried = (nodes, edges), [idle] * bool(idle)
    while untried:
        without = untried.pop(0)
        left = _common(judge, kept, without)
        if left == kept:
            continue
        if _is_enough(judge, left):
            kept = left
        elif (half := len(without) // 2) > 0:
            untried[:0] = [without[:half], without[half:]]
    return kept


def _common(judge: Judge, kept: _Circuit, smaller: Sequence[_Circuit]) -> _Circuit:
    """What a circuit has in common with each of several."""
    nodes, edges = kept
    left = Nodes.gather(set(nodes).intersection(*(some for some, _ in smaller)))
    listed = set(edges).intersection(*(some for _, some in smaller))
    return left, live_edges(left, judge.runner.model, Edges.gather(listed))


def _is_enough(judge: Judge, member: _Circuit) -> bool:
    if not member[0].count or not judge.reaches(member):
        return False
    if judge.demands.max_gap is None:
        return True
    numbers = range(ROUNDS, ROUNDS + LAST)
    return not any(attacks(judge, *member, number=number, attempts=1) for number in numbers)


def _smaller(judge: Judge, nodes: Nodes, edges: Edges) -> Iterator[tuple[_Circuit, float]]:
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
