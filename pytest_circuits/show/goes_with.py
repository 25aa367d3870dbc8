"""Nodes that carry what an earlier node carries, times a factor: it is not said of them again."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pytest_circuits.circuit.nodes import Node
from pytest_circuits.show.layout import number
from pytest_circuits.show.observed import Bools, Numbers, Texts
from pytest_circuits.show.statement import Share, Statement, Topic

ALIKE = 0.95  # correlation, from which on it is tried
FAR = 0.25  # of the way to the furthest value: only what is beyond that is counted
WITHIN = 0.1  # of that way, by which it may miss


def goes_with(node: Node, earlier: Iterable[Node], made: Texts, checked: Texts) -> Statement | None:
    """Which earlier node it goes with, and by which factor; None where that does not hold.

    The prediction: where it is far from its usual value, it is a factor times the other's.
    """
    mine, theirs = (text.values[node][text.tokens >= 0] for text in (made, checked))
    usual = float(np.median(mine))
    way = float(np.abs(mine - usual).max())
    if not way:
        return None
    ranked = [(_alike(mine, other := _of(made, each)), each, other) for each in earlier]
    alike, leader, other = max(ranked, key=lambda each: each[0], default=(0.0, node, mine))
    if alike < ALIKE:
        return None
    factor, constant = np.polyfit(other, mine, 1)
    far: Bools = np.abs(theirs - usual) > FAR * way
    near = np.abs(factor * _of(checked, leader) + constant - theirs)[far] <= WITHIN * way
    chance = (
        float((np.abs(theirs[far] - mine.mean()) <= WITHIN * way).mean()) if far.any() else None
    )
    share = Share(int(near.sum()), int(far.sum()), "values far from its usual one", chance)
    how = f"{'with' if factor > 0 else 'against'} {leader[0]}[{leader[1]}]"
    says = f"goes {how}, {number(abs(float(factor)))} times as large"
    said = Statement(Topic.TEXT, says, (share,))
    return said if said.stands else None


def _of(text: Texts, node: Node) -> Numbers:
    return text.values[node][text.tokens >= 0]


def _alike(one: Numbers, other: Numbers) -> float:
    if not (np.ptp(one) and np.ptp(other)):
        return 0.0
    return abs(float(np.corrcoef(one, other)[0, 1]))
