"""One-sided bounds that hold at any size of sample, and the three-way verdict they lead to.

Each bound holds on its own with confidence 1 - alpha, so that "every claim is shown to hold" needs
no correction for many claims (Berger 1982). None of them is ever computed from Hypothesis draws.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from math import fsum, log, sqrt

import numpy as np
from numpy.typing import NDArray

from pytest_circuits.claims.evidence import Verdict

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Span = tuple[float, float]  # the least and the greatest value that counts

ROUNDING = 1e-12  # sums of weights over a whole space miss their value by this much
MOST_PROMPTS = 10_000_000
MOST_DRAWS = 100_000  # that protocol.pairs can be
TINY = 1e-6  # a signal smaller than this is silence
SAME = 1e-5  # relative: records keep six digits, and sums in float32 differ by about 1e-6

# A mean of values without a greatest one has no bound: a loss beyond any that was seen, on one pair
# in a thousand, can make any mean. At 2.5 nats the right answer is given 8 %, the wrong one 92 %.
# More is no more wrong, as far as these means go; how many prompts go wrong is for rates to say. A
# cap twice as high asks for twice the pairs: with this one a sample of 100, the least there is, can
# still show a limit of 0.15 nats. No pair of a bundled circuit that passes costs more than 0.4.
LOSS_CAP = 2.5
LOSSES: Span = (0.0, LOSS_CAP)
GAPS: Span = (-LOSS_CAP, LOSS_CAP)  # of two losses
SHARES: Span = (0.0, 1.0)

# Shares of the capital that bets stake on each draw. All of it wins most where values are alike,
# less where some are rare and large, and the more draws there are, the less.
STAKES = np.array([1.0, 0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01])
CAPITAL = np.array([1 / 2, *[1 / 18] * 9])  # that each bet starts with
HALVINGS = 50


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate between two one-sided bounds; over a whole space all three are equal."""

    estimate: float
    lower: float
    upper: float
    group: str = ""  # of several groups of prompts, the one that it is of: the worst
    groups: tuple[tuple[str, float], ...] = ()  # what was estimated for each


def lower_bound(hits: int, n: int, alpha: float) -> float:
    """Clopper-Pearson: the true rate is below this with probability at most alpha."""
    from scipy.special import betaincinv  # noqa: PLC0415  (loaded when a claim is decided)

    return 0.0 if hits == 0 else float(betaincinv(hits, n - hits + 1, alpha))


def upper_bound(hits: int, n: int, alpha: float) -> float:
    """Clopper-Pearson: the true rate is above this with probability at most alpha."""
    from scipy.special import betaincinv  # noqa: PLC0415

    return 1.0 if hits == n else float(betaincinv(hits + 1, n - hits, 1 - alpha))


def rate(holds: Bools, alpha: float) -> Interval:
    """Rate of independent draws [n], each bound at level alpha."""
    return _share(int(holds.sum()), len(holds), alpha)


def _share(hits: int, n: int, alpha: float) -> Interval:
    return Interval(hits / n, lower_bound(hits, n, alpha), upper_bound(hits, n, alpha))


def drop(before: Bools, after: Bools, alpha: float) -> Interval:
    """How much lower the second of two paired rates is, on the same draws [n].

    The drop is P(right before, wrong after) - P(wrong before, right after); each of the two gets
    half of alpha, so that both bounds are exact whatever the agreement between the two runs is.
    """
    n = len(before)
    lost, won = int((before & ~after).sum()), int((~before & after).sum())
    half = alpha / 2
    return Interval(
        (lost - won) / n,
        lower_bound(lost, n, half) - upper_bound(won, n, half),
        upper_bound(lost, n, half) - lower_bound(won, n, half),
    )


def mean(values: Floats, alpha: float, within: Span) -> Interval:
    """Mean of independent draws [n], each bound at level alpha, whatever their distribution is.

    The bounds are those of the mean of the values clipped to `within`, and the estimate, which is
    of the values as they are, lies between them: a limit is kept where the clipped mean is shown to
    keep it and the mean that was seen does. The order of the draws does not matter.
    """
    low, high = within
    centre, clipped = float(values.mean()), np.clip(values, low, high)
    lower = low + _least_mean(clipped - low, alpha)
    upper = high - _least_mean(high - clipped, alpha)
    return Interval(centre, min(lower, centre), max(upper, centre))


def _least_mean(values: Floats, alpha: float) -> float:
    """A bound that the mean of draws [n] of at least 0 is below with probability alpha at most.

    Waudby-Smith and Ramdas 2024: whoever stakes a share of the capital on each draw, which pays the
    draw over its mean, can expect to end with what there was at first, and so ends with 1 / alpha
    times as much with probability alpha at most (Markov). Means at which the bets do are refuted.
    """
    seen, counts = np.unique(values, return_counts=True)
    below, above = 0.0, float(values.mean())  # at that mean no bet wins
    if not above > 0:
        return above
    for _ in range(HALVINGS):
        middle = (below + above) / 2
        with np.errstate(divide="ignore"):  # all was staked on a draw of 0
            gains = np.log1p(STAKES[:, None] * (seen / middle - 1)) @ counts
        if np.logaddexp.reduce(gains + np.log(CAPITAL)) > -log(alpha):
            below = middle
        else:
            above = middle
    return below


def fewest_draws(limit: float, alpha: float, within: Span) -> int:
    """Draws that are needed to show that a mean keeps to a limit, if each is the least there is."""
    low, _ = within
    return bisect_left(
        range(MOST_DRAWS),
        x=True,
        lo=1,
        key=lambda n: mean(np.full(n, low), alpha, within).upper <= limit,
    )


def draws_needed(values: Floats, limit: float, alpha: float, within: Span) -> int | None:
    """Draws after which a mean is shown to keep to a limit, or not to, if all are like these [n].

    None when the mean is the limit, or nearly: no sample that can be asked for would settle it.
    """
    n = len(values)
    while n <= MOST_DRAWS:
        verdict = at_most(mean(np.resize(values, n), alpha, within), limit)
        if verdict is not Verdict.INCONCLUSIVE:
            return n
        n = int(n * 1.25) + 1
    return None


def whole(values: Floats, weights: Floats) -> Interval:
    """Mean over a whole space: values [n] with probabilities [n] that sum to one. No error."""
    value = fsum(weights * values) / fsum(weights)  # exactly 1 where every value is 1
    return Interval(value, value, value)


def control_p(worse_than_random: int, controls: int) -> float:
    """Monte Carlo p-value: the share of controls at least as good as the circuit, itself included.

    Never zero (Phipson and Smyth 2010). A control that ties counts as at least as good.
    """
    return (worse_than_random + 1) / (controls + 1)


def share_p(hits: int, n: int, share: float) -> float:
    """P-value of the hypothesis that a rate is at least `share`, against its being lower. Exact."""
    from scipy.special import bdtr  # noqa: PLC0415

    return float(bdtr(hits, n, share)) if n else 1.0


def holm(p: Floats, alpha: float) -> Bools:
    """Which hypotheses to reject, so that a true one is among them with probability alpha at most.

    Holm 1979: the smallest p-value is held against alpha / m, the next one against alpha / (m - 1).
    """
    order = np.argsort(p, kind="stable")
    reached = p[order] <= alpha / np.arange(len(p), 0, -1)
    rejected = np.zeros(len(p), dtype=np.bool_)
    rejected[order[np.cumprod(reached).astype(bool)]] = True
    return rejected


def at_least(interval: Interval, threshold: float) -> Verdict:
    """Pass when the lower bound reaches the threshold, fail when the upper bound misses it."""
    return _decide(interval.lower - threshold, interval.upper - threshold)


def at_most(interval: Interval, threshold: float) -> Verdict:
    """Pass when the upper bound keeps to the threshold, fail when the lower bound exceeds it."""
    return _decide(threshold - interval.upper, threshold - interval.lower)


def _decide(worst: float, best: float) -> Verdict:
    if worst >= -ROUNDING:
        return Verdict.PASS
    return Verdict.FAIL if best < -ROUNDING else Verdict.INCONCLUSIVE


def prompts_needed(estimate: float, threshold: float, alpha: float) -> int | None:
    """Draws after which a rate that stays at this estimate is decided against the threshold.

    None when the estimate is the threshold, or nearly: no sample size would settle it.
    """
    n = 100
    while n <= MOST_PROMPTS:
        interval = _share(round(estimate * n), n, alpha)
        if at_least(interval, threshold) is not Verdict.INCONCLUSIVE:
            return n
        n = int(n * 1.25)
    return None


def correlation(before: Floats, after: Floats) -> float:
    """How alike one node's signals [n] are in two models: 1 the same, 0 unrelated or opposed.

    Pearson's correlation, floored at 0. A node that is constant in both (a bias) has none: there
    the nearness of the two constants counts instead. Constant in one alone is 0.
    """
    flat_before, flat_after = _is_constant(before), _is_constant(after)
    if flat_before and flat_after:
        a, b = float(before.mean()), float(after.mean())
        largest = max(abs(a), abs(b))
        return 1.0 if largest < TINY else max(0.0, 1.0 - abs(a - b) / largest)
    if flat_before or flat_after:
        return 0.0
    x, y = before - before.mean(), after - after.mean()
    return max(0.0, float((x @ y) / sqrt(float(x @ x) * float(y @ y))))


def correlations(before: Floats, after: Floats) -> Floats:
    """The same for each of several nodes: [nodes, n] twice -> [nodes]."""
    both = zip(before, after, strict=True)
    return np.array([correlation(b, a) for b, a in both], dtype=np.float64)


def shares(effects: Floats) -> Floats:
    """What each effect [n] is of the sum of their sizes; of effects that are none, the same."""
    sizes = np.abs(effects)
    total = float(sizes.sum())
    return sizes / total if total > TINY else np.full(len(sizes), 1 / len(sizes))


def order_kept(before: Floats, after: Floats, *, tie: float) -> float | None:
    """How far two rankings of the same things [n] agree: 1 the same order, -1 the opposite one.

    Kendall's tau over the pairs that the first tells apart by more than `tie`, so that what is
    equal but for noise has no order to keep (Goodman and Kruskal 1954). None: there is no such
    pair.
    """
    gaps, kept = (x[:, None] - x[None, :] for x in (before, after))
    told = np.triu(np.abs(gaps) > tie)
    if not told.any():
        return None
    return float((np.sign(gaps) * np.sign(kept))[told].mean())


def _is_constant(values: Floats) -> bool:
    size = float(np.abs(values).max(initial=0.0))
    return size < TINY or float(values.std()) <= SAME * size


def softplus(margins: Floats) -> Floats:
    """Two-way cross-entropy log(1 + exp(-m)) in nats, elementwise, without overflow."""
    return np.logaddexp(0.0, -margins)
