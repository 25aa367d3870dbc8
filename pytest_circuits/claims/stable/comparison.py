"""Two observations of a circuit side by side: in the baseline and in the candidate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pytest_circuits.claims import statistics
from pytest_circuits.claims.bench import EPS, Sample
from pytest_circuits.claims.stable.observation import Observation
from pytest_circuits.claims.statistics import Bools, Floats, Interval
from pytest_circuits.spec.types import Protocol

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
    protocol: Protocol,
    *,
    same_probes: bool = True,
) -> Comparison:
    """Compare a candidate's observation with the baseline's, on the prompts of `sample`.

    A pair counts as told apart from the margin of the protocol on, as in the law of `necessary`:
    nearer to a tie, where a needed circuit leaves the model, any update turns preferences that mean
    nothing.
    same_probes: both were probed at the same channels, so that lineage can be told.
    """
    earlier, later = (_told_apart(x.without, protocol.margin) for x in (before, after))
    sizes = np.abs(before.effects)
    return Comparison(
        drop=sample.drop(before.alone > EPS, after.alone > EPS, protocol.alpha),
        rise=sample.drop(later, earlier, protocol.alpha),
        alike=_correlations(before.signals, after.signals),
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
    return float(_correlations(before.probed, after.probed).mean())


def _correlations(before: Floats, after: Floats) -> Floats:
    return np.array(
        [statistics.correlation(b, a) for b, a in zip(before, after, strict=True)],
        dtype=np.float64,
    )


def _apart(before: Floats, after: Floats) -> Floats:
    """Mean total variation [heads] of attention [heads, n, T]; the sink counts as one token."""
    if not len(before):  # a file does not say how many tokens no head looked at
        return np.zeros(0)
    sink = np.abs(before.sum(axis=2) - after.sum(axis=2))
    distance: Floats = (np.abs(before - after).sum(axis=2) + sink).mean(axis=1) / 2
    return distance
