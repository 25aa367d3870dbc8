"""Which of the weights between kept nodes a circuit needs."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from pytest_circuits.circuit import Edges, live_edges
from pytest_circuits.prune.refine import eliminate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_circuits.circuit import Nodes
    from pytest_circuits.prune.quality import Judge, Quality

Edge = tuple[tuple[str, str], tuple[int, int]]  # hook points and channels, source first


def needed_edges(judge: Judge, nodes: Nodes) -> Edges:
    """The edges of a circuit that reach the bar without the others."""
    every = list(live_edges(nodes, judge.runner.model))

    def assess(kept: Sequence[Sequence[Edge]], *, few: bool) -> list[Quality]:
        return judge.assess_edges(nodes, [_edges(some) for some in kept], few=few)

    kept = every
    for smaller in eliminate(every, assess, judge.bar, least=0):
        kept = smaller
    return _edges(kept)


def _edges(some: Iterable[Edge]) -> Edges:
    pairs: defaultdict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for ends, pair in some:
        pairs[ends].append(pair)
    return Edges.of(pairs)
