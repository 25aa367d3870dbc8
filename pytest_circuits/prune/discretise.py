"""From a ranking of nodes to the smallest circuit that is good enough."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from pytest_circuits.circuit import Nodes
from pytest_circuits.prune.quality import Bar, Quality, assess

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_circuits.circuit import Runner
    from pytest_circuits.prompts import Pair

GRID = 16  # sizes tried at once


def top(ranking: Sequence[tuple[str, int]], size: int) -> Nodes:
    """The circuit of the first `size` nodes of a ranking."""
    channels: defaultdict[str, list[int]] = defaultdict(list)
    for hook, channel in ranking[:size]:
        channels[hook].append(channel)
    return Nodes.of(channels)


def smallest(
    runner: Runner,
    ranking: Sequence[tuple[str, int]],
    pairs: Sequence[Pair],
    bar: Bar,
    *,
    most: int,
) -> Nodes | None:
    """The smallest prefix of a ranking that reaches the bar, or None up to `most` nodes.

    A longer prefix is not always better, so sizes are not bisected: a grid is tried, then a finer
    grid below its smallest good size, until neighbouring sizes have been tried.
    """
    low, high, best = 1, most, None
    while low <= high:
        sizes = sorted({int(s) for s in np.geomspace(low, high, GRID).round()})
        qualities = assess(runner, [top(ranking, size) for size in sizes], pairs)
        good = [size for size, q in zip(sizes, qualities, strict=True) if q.reaches(bar)]
        if not good:
            return best
        best = top(ranking, good[0])
        position = sizes.index(good[0])
        low = sizes[position - 1] + 1 if position else good[0]
        high = good[0] - 1
    return best


def eliminate(
    runner: Runner, nodes: Nodes, pairs: Sequence[Pair], bar: Bar
) -> Iterator[tuple[Nodes, Quality]]:
    """Remove nodes that are not missed, the least missed first; yields every smaller circuit.

    Each round ranks the nodes by what leaving one out costs, and removes the largest part of the
    ranking's tail that still reaches the bar.
    """
    while nodes.count > 1:
        candidates = list(nodes)
        left_out = assess(runner, [nodes.without(*node) for node in candidates], pairs)
        order = sorted(range(len(candidates)), key=lambda i: (_cost(left_out[i], bar), i))
        passing = [i for i in order if left_out[i].reaches(bar)]
        size = max(1, len(passing) // 2)
        while passing:
            removed = {candidates[i] for i in passing[:size]}
            smaller = top([node for node in candidates if node not in removed], nodes.count)
            quality = assess(runner, [smaller], pairs)[0]
            if quality.reaches(bar):
                nodes = smaller
                yield nodes, quality
                break
            if size == 1:
                passing = passing[1:]
            size = max(1, size // 2)
        else:
            return


def _cost(quality: Quality, bar: Bar) -> float:
    """How much of the room below the bar a circuit uses, by its most pressing measure."""
    return max(quality.loss / bar.max_loss, quality.worst_separation / bar.max_separation)
