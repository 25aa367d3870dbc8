"""Two observations of a circuit side by side: in the baseline and in the candidate.

Also how far circuits that are pruned anew on both overlap, beside their overlap by seed alone.
Which of several equally good circuits a search ends in is partly chance, so that an overlap says
something only beside that of other seeds on the same model (Meloux et al. 2025, arXiv 2510.00845).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.claims import statistics
from pytest_circuits.claims.bench import EPS
from pytest_circuits.claims.sample import Sample
from pytest_circuits.claims.stable.observation import Observation
from pytest_circuits.claims.statistics import Bools, Floats, Interval

LINEAGE = 0.3  # below this mean correlation, node numbers mean other things; strangers reach 0.22
EQUAL = 0.05  # of the largest effect: effects nearer to each other than this have no order


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed between two observations of the same circuit.

    drop: of the rate of the circuit alone. rise: of the share of pairs that are told apart without
    the circuit. alike: [nodes], correlation of each node's signals. weights: [nodes], its share of
    the effects in the baseline. apart: [heads], total variation between the attention in both.
    effects: rank correlation of the nodes' effects, None where they are all equal. lineage: mean
    correlation of channels all over the models, None where that was not looked at.
    """

    drop: Interval
    rise: Interval
    alike: Floats
    weights: Floats
    apart: Floats
    effects: float | None
    lineage: float | None

    @property
    def identity(self) -> float:
        """Mean correlation of the nodes' signals, weighted by their effects."""
        return float(self.weights @ self.alike)

    @property
    def comparable(self) -> bool:
        """Whether node numbers mean the same in both models."""
        return self.lineage is None or self.lineage >= LINEAGE


def compare(
    before: Observation,
    after: Observation,
    sample: Sample,
    *,
    alpha: float,
    margin: float,
    same_probes: bool = True,
) -> Comparison:
    """Compare a candidate's observation with the baseline's, on the prompts of `sample`.

    A pair counts as told apart from the margin on, as in the law of `necessary`:
    nearer to a tie, where a needed circuit leaves the model, any update turns preferences that mean
    nothing.
    same_probes: both were probed at the same channels, so that lineage can be told.
    """
    earlier, later = (_told_apart(x.without, margin) for x in (before, after))
    sizes = np.abs(before.effects)
    return Comparison(
        drop=sample.drop(before.alone > EPS, after.alone > EPS, alpha),
        rise=sample.drop(later, earlier, alpha),
        alike=statistics.correlations(before.signals, after.signals),
        weights=sizes / sizes.sum() if sizes.sum() > EPS else np.full(len(sizes), 1 / len(sizes)),
        apart=_apart(before.attention, after.attention),
        effects=statistics.order_kept(
            before.effects, after.effects, tie=EQUAL * float(sizes.max(initial=0)) + EPS
        ),
        lineage=_lineage(before, after) if same_probes else None,
    )


def _told_apart(margins: Floats, least: float) -> Bools:
    """Of both members of each pair [n, 2], whether the pair is told apart by so many nats."""
    told = margins.mean(axis=1, keepdims=True) >= least
    return np.repeat(told, 2, axis=1)


def _lineage(before: Observation, after: Observation) -> float | None:
    """Of a model whose channels do not vary there is nothing to be said."""
    if not len(before.probed):
        return None
    return float(statistics.correlations(before.probed, after.probed).mean())


def _apart(before: Floats, after: Floats) -> Floats:
    """Mean total variation [heads] of attention [heads, n, T]; the sink counts as one token."""
    if not len(before):  # a file does not say how many tokens no head looked at
        return np.zeros(0)
    sink = np.abs(before.sum(axis=2) - after.sum(axis=2))
    distance: Floats = (np.abs(before - after).sum(axis=2) + sink).mean(axis=1) / 2
    return distance


@dataclass(frozen=True, slots=True)
class Structure:
    """Intersection over union of nodes, means over pairs of searches.

    between: one of the baseline with one of the candidate. within: two of the baseline; least: of
    those, the lowest. chance: what random nodes in the same numbers would have.
    """

    between: float
    within: float
    least: float
    chance: float

    @property
    def kept(self) -> bool:
        """Whether the candidate's circuits are as near as the baseline's among themselves."""
        return self.between >= self.least


def structure_of(
    before: Sequence[Nodes], after: Sequence[Nodes], widths: Mapping[str, int]
) -> Structure:
    """Compare circuits that were pruned anew, at least two of the baseline.

    A search that found nothing overlaps with nothing.
    """
    within = [overlap(one, other) for one, other in combinations(before, 2)]
    pairs = list(product(before, after))
    return Structure(
        between=float(np.mean([overlap(*pair) for pair in pairs])),
        within=float(np.mean(within)),
        least=min(within),
        chance=float(np.mean([_by_chance(*pair, widths) for pair in pairs])),
    )


def overlap(one: Nodes, other: Nodes) -> float:
    """Intersection over union of two sets of nodes."""
    first, second = set(one), set(other)
    return len(first & second) / max(1, len(first | second))


def _by_chance(one: Nodes, other: Nodes, widths: Mapping[str, int]) -> float:
    shared = sum(n * other.shape.get(hook, 0) / widths[hook] for hook, n in one.shape.items())
    return shared / max(1.0, one.count + other.count - shared)
