"""From a ranking of nodes to the smallest prefix of it that is good enough."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.prune.quality import Judge

GRID = 16  # sizes tried at once


def smallest(judge: Judge, ranking: Sequence[tuple[str, int]], *, most: int) -> Nodes | None:
    """The smallest prefix of a ranking that reaches the bar, or None up to `most` nodes.

    A longer prefix is not always better, so sizes are not bisected: a grid is tried, then a finer
    grid below its smallest good size, until neighbouring sizes have been tried.
    """
    low, high, best = 1, most, None
    while low <= high:
        sizes = sorted({int(s) for s in np.geomspace(low, high, GRID).round()})
        qualities = judge.assess([Nodes.gather(ranking[:size]) for size in sizes])
        good = [size for size, q in zip(sizes, qualities, strict=True) if q.reaches(judge.bar)]
        if not good:
            return best
        best = Nodes.gather(ranking[: good[0]])
        position = sizes.index(good[0])
        low = sizes[position - 1] + 1 if position else good[0]
        high = good[0] - 1
    return best
