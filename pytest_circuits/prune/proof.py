"""Every circuit of fewer nodes, tried: where nodes are few, the smallest one is known for certain.

Most are ruled out by a few pairs. What a circuit costs on them is a part of what it costs on all,
and no loss is below zero: where that part alone is above the bar, the rest cannot help.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from math import comb

import numpy as np

from pytest_circuits.circuit.nodes import Node, Nodes
from pytest_circuits.circuit.view import View
from pytest_circuits.prune.judge import Judge
from pytest_circuits.prune.price import PRICE
from pytest_circuits.prune.quality import Floats
from pytest_circuits.spec.types import FoundBy

AFFORDED = 512  # circuits that any search of a ranking tries
MOST = 20_000  # that one tries which is to be certified
_AT_ONCE = 128  # circuits
_MISSES = 3.0  # times the misses that the bar allows, that the pairs which rule out amount to
_ROUNDING = 1e-6  # nats, and shares of prompts


@dataclass(frozen=True, slots=True)
class Proof:
    """What was tried of all circuits that are not larger than one that was found.

    of: nodes of that one. below: every circuit of fewer nodes than this was tried, and none of them
    is good enough. tried: how many circuits. best: where all of `below` nodes were tried too and
    some are good enough, the one of these with the least loss. equals: how many there are. common:
    the nodes that all of them have. Where nodes are priced, a node of them stands for so many.
    """

    of: int
    below: int
    tried: int
    best: Nodes | None = None
    equals: int = 0
    common: Nodes | None = None

    def __str__(self) -> str:
        """What is known, in a line."""
        if not self.tried:
            return "smaller circuits are too many to be tried"
        tried = f"all {self.tried:,} were tried"
        fewer = f"no circuit of fewer than {self.below} nodes is good enough"
        if self.best is not None and self.common is not None:
            some = f"{self.equals:,} of {self.below}" if self.equals > 1 else f"one of {self.below}"
            shared = f", which have {self.common.count} in common" if self.equals > 1 else ""
            return f"{fewer}, and {some} {'are' if self.equals > 1 else 'is'}{shared}: {tried}"
        if self.below == self.of:
            return f"{fewer}: {tried}"
        return f"{fewer}: {tried}; of those of {self.below} there are too many to be tried"

    def told(self) -> dict[str, FoundBy]:
        """The same for `found_by`."""
        told: dict[str, FoundBy] = {"none_below_nodes": self.below, "circuits_tried": self.tried}
        if self.common is None:
            return told
        return told | {"equally_small": self.equals, "in_all": dict(self.common.channels)}


def costs(nodes: int, size: int, priced: int = 0) -> int:
    """How many circuits of fewer than `size` nodes there are, of so many, these of them priced."""
    return sum(_number(nodes, fewer, priced) for fewer in range(1, size))


def _number(nodes: int, size: int, priced: int) -> int:
    """How many circuits of this size there are."""
    return sum(comb(priced, k) * comb(nodes - priced, n) for k, n in _shares(size))


def _shares(size: int) -> Iterator[tuple[int, int]]:
    """How many priced nodes a circuit of this size may have, and how many others then."""
    return ((k, size - PRICE * k) for k in range(size // PRICE + 1))


def afforded(nodes: int, size: int, most: int, priced: int = 0) -> int:
    """How many of these are tried, where no size is begun that cannot be ended."""
    totals = (costs(nodes, size, priced) for size in range(1, size + 1))
    return max(total for total in totals if total <= most)


def all_smaller(
    judge: Judge,
    nodes: Sequence[Node],
    *,
    of: int,
    equals: bool,
    most: int,
    tell: Callable[[int], None],
    priced: Collection[Node] = (),
) -> Proof:
    """Try every circuit of fewer nodes than `of`, the smallest first, up to so many.

    It ends with the first number of nodes of which there is one that is good enough, or of which
    not all can be tried. equals: whether those of as many nodes are tried too. tell: is given how
    many were tried, on the way. priced: nodes that count as several each, in `of` as well.
    """
    tried, dear = 0, [node for node in nodes if node in priced]
    others = [node for node in nodes if node not in priced]
    for size in range(1, of + equals):
        if tried + _number(len(nodes), size, len(dear)) > most:
            return Proof(of, size, tried)
        good = list[Nodes]()
        of_size = (
            (*some, *more)
            for k, n in _shares(size)
            for some in combinations(dear, k)
            for more in combinations(others, n)
        )
        for some in _chunks(of_size):
            good += _good(judge, some)
            tried += len(some)
            tell(tried)
        if good:
            losses = [quality.loss for quality in judge.alone([(each, None) for each in good])]
            common = set(good[0]).intersection(*good[1:])
            best = good[int(np.argmin(losses))]
            return Proof(of, size, tried, best, len(good), Nodes.gather(common))
    return Proof(of, of, tried)


def _chunks(circuits: Iterator[tuple[Node, ...]]) -> Iterator[list[Nodes]]:
    while some := [Nodes.gather(nodes) for nodes in islice(circuits, _AT_ONCE)]:
        yield some


def _good(judge: Judge, circuits: Sequence[Nodes]) -> list[Nodes]:
    few = _few(judge)
    pairs, weights = [judge.pairs[i] for i in few], judge.weights[few]
    margins = judge.runner.margins_many(pairs, [View.circuit(nodes) for nodes in circuits])
    out = _ruled_out(judge, margins, weights)
    left = (nodes for nodes, is_out in zip(circuits, out, strict=True) if not is_out)
    return [nodes for nodes in left if judge.reaches((nodes, None))]


def _ruled_out(judge: Judge, margins: Floats, weights: Floats) -> Sequence[bool]:
    """Which circuits cannot reach the bar, by margins [K, n, 2] on pairs of these weights [n]."""
    losses = np.logaddexp(0, -margins).mean(axis=2) @ weights
    misses = (margins <= 0).mean(axis=2) @ weights
    bar = judge.bar
    too_much = losses > bar.max_loss + _ROUNDING
    found: list[bool] = (too_much | (misses > 1 - bar.min_rate + _ROUNDING)).tolist()
    return found


def _few(judge: Judge) -> list[int]:
    """The first pairs, as many as can rule out a circuit that has half of their prompts wrong."""
    enough = np.cumsum(judge.weights) >= _MISSES * (1 - judge.bar.min_rate)
    return [*range(int(np.argmax(enough)) + 1 if enough.any() else len(judge.pairs))]
