"""Which of the weights between kept nodes a circuit needs."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from pytest_circuits.circuit import Edges, live_edges
from pytest_circuits.prune.refine import eliminate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_circuits.circuit import Nodes
    from pytest_circuits.prune.quality import Judge

Edge = tuple[tuple[str, str], tuple[int, int]]  # hook points and channels, source first


def needed_edges(judge: Judge, nodes: Nodes) -> Edges:
    """The edges of a circuit that reach the bar without the others."""
    bar = judge.bar

    def spared(kept: list[Edge]) -> list[int]:
        parts = [_edges([*kept[:i], *kept[i + 1 :]]) for i in range(len(kept))]
        alone = judge.alone([(nodes, part) for part in parts])
        good = [i for i, quality in enumerate(alone) if quality.reaches(bar)]
        return sorted(good, key=lambda i: (alone[i].use(bar), i))

    def reaches(kept: list[Edge]) -> bool:
        return judge.alone([(nodes, _edges(kept))])[0].reaches(bar)

    kept = list(live_edges(nodes, judge.runner.model))
    for smaller in eliminate(kept, spared, reaches, least=0):
        kept = smaller
    return _edges(kept)


def _edges(some: Iterable[Edge]) -> Edges:
    pairs: defaultdict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for ends, pair in some:
        pairs[ends].append(pair)
    return Edges.of(pairs)
