"""From a ranking of nodes to the smallest prefix of it that is good enough."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from pytest_circuits.circuit import Nodes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_circuits.prune.quality import Judge

GRID = 16  # sizes tried at once


def nodes_of(some: Iterable[tuple[str, int]]) -> Nodes:
    """Nodes from hook points and channels."""
    channels: defaultdict[str, list[int]] = defaultdict(list)
    for hook, channel in some:
        channels[hook].append(channel)
    return Nodes.of(channels)


def smallest(judge: Judge, ranking: Sequence[tuple[str, int]], *, most: int) -> Nodes | None:
    """The smallest prefix of a ranking that reaches the bar, or None up to `most` nodes.

    A longer prefix is not always better, so sizes are not bisected: a grid is tried, then a finer
    grid below its smallest good size, until neighbouring sizes have been tried.
    """
    low, high, best = 1, most, None
    while low <= high:
        sizes = sorted({int(s) for s in np.geomspace(low, high, GRID).round()})
        qualities = judge.assess([nodes_of(ranking[:size]) for size in sizes])
        good = [size for size, q in zip(sizes, qualities, strict=True) if q.reaches(judge.bar)]
        if not good:
            return best
        best = nodes_of(ranking[: good[0]])
        position = sizes.index(good[0])
        low = sizes[position - 1] + 1 if position else good[0]
        high = good[0] - 1
    return best
