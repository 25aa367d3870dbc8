"""Which nodes of a circuit are needed whatever a few of the prompts are: the others abstain.

A search looks at some prompts, and others might have led it to other nodes. So the question whether
a circuit can spare a node is asked of a thousand subsamples, into each of which a pair of prompts
comes by a small chance, some eight of them. Let some pairs be exchanged, added or left out: as
often as a subsample has none of them, nothing is another. Hence the share of the subsamples that
need a node changes by no more than the rest, and where it is large enough, most of them need it
still (Huang et al. 2023, "RS-Del", theorem 5; of circuits Anani et al. 2026, "Certified Circuits",
arXiv 2602.22968).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import floor, log

import numpy as np

from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.view import View
from pytest_circuits.claims.statistics import lower_bound
from pytest_circuits.prune.judge import Judge
from pytest_circuits.prune.quality import (
    Count,
    Floats,
    Quality,
    count_alone,
    count_flipped,
    count_left,
)
from pytest_circuits.spec.types import FoundBy

SUBSAMPLES = 1000
_SEEN = 8  # pairs of a subsample, in the mean: with fewer, chance decides what is needed
_LEAST, _MOST = 0.1, 0.4  # chance of each pair; the smaller, the more of them may be others
_RISK = 0.01  # that the share of any of the nodes is below its bound


@dataclass(frozen=True, slots=True)
class Certified:
    """How many pairs of prompts may be others, for each node of a circuit to be needed still.

    radii: by node, in the order of the nodes; 0 for one that abstains. pairs: how many there are.
    """

    nodes: Nodes
    radii: tuple[int, ...]
    pairs: int

    @property
    def abstained(self) -> Nodes:
        """The nodes that are not needed by enough of the subsamples."""
        both = zip(self.nodes, self.radii, strict=True)
        return Nodes.gather(node for node, radius in both if not radius)

    @property
    def radius(self) -> int:
        """Pairs that may be others for all nodes that do not abstain."""
        return min((radius for radius in self.radii if radius), default=0)

    def __str__(self) -> str:
        """What is known, in a line."""
        out, of = self.abstained, self.nodes.count
        told = (
            f"certified: {of - out.count} of {of} nodes" if out.count < of else "certified: no node"
        )
        if self.radius:
            one = self.radius == 1
            some = f"{self.radius} {'pair' if one else 'pairs'} of the {self.pairs}"
            told += f", needed even where {some} {'is another' if one else 'are others'}"
        names = f"; not by enough of {SUBSAMPLES:,} subsamples: {', '.join(out.ids())}"
        return told + names * bool(out.count)

    def told(self) -> dict[str, FoundBy]:
        """The same for `found_by`."""
        out = self.abstained
        told: dict[str, FoundBy] = {
            "certified_nodes": self.nodes.count - out.count,
            "certified_radius": self.radius,
        }
        return told | ({"abstained": dict(out.channels)} if out.count else {})


def certified(judge: Judge, nodes: Nodes) -> Certified:
    """Ask subsamples of the evaluation pairs which nodes of a circuit they need.

    One needs a node where the circuit without it is not good enough, and worse than with it: alone,
    or by what the model does without it, under each ablation.
    """
    smaller = [Nodes.gather(other for other in nodes if other != node) for node in nodes]
    runs, pairs = list(_runs(judge, [nodes, *smaller])), len(judge.pairs)
    chance = min(_MOST, max(_LEAST, _SEEN / pairs))
    rng, needs = np.random.default_rng(0), np.zeros(nodes.count, dtype=int)
    for _ in range(SUBSAMPLES):
        some = np.flatnonzero(rng.random(pairs) < chance)
        if not len(some):
            continue  # nothing needs anything
        weights = judge.weights[some] / judge.weights[some].sum()
        costs = np.array([*_excesses(judge, runs, some, weights)])
        needs += (costs[1:] > 0) & (costs[1:] > costs[0])
    risk = _RISK / max(1, nodes.count)
    shares = (lower_bound(int(hits), SUBSAMPLES, risk) for hits in needs)
    return Certified(nodes, tuple(radius_of(share, chance) for share in shares), pairs)


def radius_of(share: float, chance: float) -> int:
    """How many pairs may be others, where at least this share of subsamples needs a node.

    chance: of each pair. With r others a subsample has none of them as often as (1 - chance) ** r,
    and half of the subsamples need the node while share - (1 - (1 - chance) ** r) >= 1/2.
    """
    return max(0, floor(log(1.5 - share) / log(1 - chance)))


def _runs(judge: Judge, circuits: list[Nodes]) -> Iterator[tuple[Count, Floats]]:
    """Margins [K, n, 2] of circuits and of what is left without them, and how they count."""
    for ablation in judge.demands.ablations:
        runner = judge.runner.under(ablation)
        alike = [View.circuit(nodes) for nodes in circuits]
        yield count_alone, runner.margins_many(judge.pairs, alike)
        if judge.demands.necessity:
            without = [View.without(nodes) for nodes in circuits]
            count = count_flipped if ablation.kind.from_partner else count_left
            yield count, runner.margins_many(judge.pairs, without)


def _excesses(
    judge: Judge, runs: list[tuple[Count, Floats]], some: np.ndarray, weights: Floats
) -> Iterator[float]:
    for number in range(len(runs[0][1])):
        quality = Quality()
        for count, margins in runs:
            quality = quality.worst(count(margins[number, some], weights))
        yield quality.excess(judge.bar)
