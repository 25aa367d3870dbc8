"""The bounds agree with closed forms and with scipy, and hold as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pytest_circuits.claims import statistics
from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.claims.findings import gap_finding
from pytest_circuits.claims.statistics import Interval

ALPHA = 0.01


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (1, 59), (30, 60), (492, 500), (7, 7)])
def test_clopper_pearson_bounds_are_those_of_scipy(hits: int, n: int) -> None:
    two_sided = stats.binomtest(hits, n).proportion_ci(1 - 2 * ALPHA, method="exact")

    assert statistics.lower_bound(hits, n, ALPHA) == pytest.approx(two_sided.low)
    assert statistics.upper_bound(hits, n, ALPHA) == pytest.approx(two_sided.high)


def test_without_a_single_miss_the_lower_bound_is_the_root_of_alpha() -> None:
    assert statistics.lower_bound(59, 59, 0.05) == pytest.approx(0.05 ** (1 / 59))
    assert statistics.upper_bound(0, 59, 0.05) == pytest.approx(1 - 0.05 ** (1 / 59))


def test_bounds_of_a_mean_are_those_of_students_test() -> None:
    values = np.random.default_rng(0).normal(0.3, 0.1, size=40)

    interval = statistics.mean(values, ALPHA)

    two_sided = stats.ttest_1samp(values, 0).confidence_interval(1 - 2 * ALPHA)
    assert interval.estimate == pytest.approx(values.mean())
    assert (interval.lower, interval.upper) == pytest.approx((two_sided.low, two_sided.high))


@pytest.mark.parametrize(
    ("n", "share", "loss", "limit", "missed"),
    [(16, 0.05, 6, 0.2, 0.45), (100, 0.02, 10, 0.15, 0.13), (500, 0.005, 40, 0.15, 0.09)],
)
def test_a_loss_that_is_rare_and_large_escapes_the_bound_of_a_mean_as_often_as_it_says(
    n: int, share: float, loss: float, limit: float, missed: float
) -> None:
    draws = loss * (np.random.default_rng(0).random((2000, n)) < share)

    passed = [statistics.mean(row, ALPHA).upper <= limit for row in draws]

    assert np.mean(passed) == pytest.approx(missed, abs=0.03)


@pytest.mark.parametrize(("lower", "upper"), [(0.1, 0.1), (0.0, 0.1), (0.1, 0.3), (0.25, 0.3)])
def test_a_gap_claims_the_whole_space_where_it_was_run_and_nowhere_else(
    lower: float, upper: float
) -> None:
    gap = Interval(lower, lower, upper)

    sampled = gap_finding(gap, 0.2, what="x", alpha=ALPHA, exhaustive=False).sentence
    whole = gap_finding(gap, 0.2, what="x", alpha=ALPHA, exhaustive=True).sentence

    assert "with about 99 % confidence, by normal approximation" in sampled
    assert "over the whole space" in whole
    assert "whole space" not in sampled
    assert "confidence" not in whole


@pytest.mark.parametrize("truth", [0.05, 0.5, 0.9, 0.98])
def test_a_rate_lies_beyond_its_bound_at_most_as_often_as_alpha_says(truth: float) -> None:
    draws = np.random.default_rng(1).random((4000, 200)) < truth

    intervals = [statistics.rate(row, 0.05) for row in draws]

    above = np.mean([interval.lower > truth for interval in intervals])
    below = np.mean([interval.upper < truth for interval in intervals])
    assert max(above, below) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 4000)


def test_a_drop_lies_beyond_its_bound_at_most_as_often_as_alpha_says() -> None:
    kinds = np.random.default_rng(2).choice(4, size=(4000, 300), p=[0.9, 0.06, 0.02, 0.02])
    before, after = np.isin(kinds, [0, 1]), np.isin(kinds, [0, 2])

    intervals = [statistics.drop(b, a, 0.05) for b, a in zip(before, after, strict=True)]

    assert np.mean([interval.upper < 0.04 for interval in intervals]) <= 0.05
    assert np.mean([interval.lower > 0.04 for interval in intervals]) <= 0.05


def test_no_discordant_prompt_in_500_shows_a_drop_below_two_points() -> None:
    right = np.ones(500, dtype=np.bool_)

    interval = statistics.drop(right, right, ALPHA)

    assert interval.estimate == 0
    assert interval.upper == pytest.approx(1 - 0.005 ** (1 / 500))


def test_over_a_whole_space_the_probabilities_decide() -> None:
    interval = statistics.whole(np.array([1.0, 0.0]), np.array([0.75, 0.25]))

    assert interval == Interval(0.75, 0.75, 0.75)


@pytest.mark.parametrize(
    ("interval", "least", "most"),
    [
        (Interval(0.97, 0.96, 0.98), Verdict.PASS, Verdict.FAIL),
        (Interval(0.90, 0.88, 0.92), Verdict.FAIL, Verdict.PASS),
        (Interval(0.96, 0.94, 0.97), Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE),
        (Interval(0.95, 0.95, 0.95), Verdict.PASS, Verdict.PASS),
    ],
)
def test_a_verdict_needs_the_whole_interval_on_one_side(
    interval: Interval, least: Verdict, most: Verdict
) -> None:
    assert statistics.at_least(interval, 0.95) is least
    assert statistics.at_most(interval, 0.95) is most


def test_what_is_not_a_number_never_passes() -> None:
    nothing = Interval(float("nan"), float("nan"), float("nan"))

    assert statistics.at_least(nothing, 0.5) is not Verdict.PASS
    assert statistics.at_most(nothing, 0.5) is not Verdict.PASS


def test_the_number_of_prompts_that_would_settle_a_rate_settles_it() -> None:
    n = statistics.prompts_needed(0.97, 0.95, ALPHA)

    assert n is not None
    assert statistics.lower_bound(round(0.97 * n), n, ALPHA) >= 0.95
    assert statistics.lower_bound(round(0.97 * n / 2), n // 2, ALPHA) < 0.95


def test_no_number_of_prompts_settles_a_rate_at_its_threshold() -> None:
    assert statistics.prompts_needed(0.95, 0.95, ALPHA) is None


def test_a_control_p_value_is_never_zero() -> None:
    assert statistics.control_p(0, 59) == pytest.approx(1 / 60)
    assert statistics.control_p(59, 59) == 1


def test_signals_that_differ_in_scale_alone_correlate_fully() -> None:
    signal = np.array([0.0, 1.0, 3.0, 2.0])

    assert statistics.correlation(signal, 2 * signal + 1) == pytest.approx(1)


def test_a_signal_that_turned_around_correlates_not_at_all() -> None:
    signal = np.array([0.0, 1.0, 3.0, 2.0])

    assert statistics.correlation(signal, -signal) == 0


@pytest.mark.parametrize(
    ("before", "after", "alike"),
    [(4.0, 4.0, 1.0), (4.0, 3.8, 0.95), (4.0, 0.0, 0.0), (4.0, -4.0, 0.0), (0.0, 0.0, 1.0)],
)
def test_constant_signals_are_as_alike_as_their_values(
    before: float, after: float, alike: float
) -> None:
    assert statistics.correlation(np.full(8, before), np.full(8, after)) == pytest.approx(alike)


def test_a_signal_that_died_is_not_alike() -> None:
    alive = np.array([0.0, 1.0, 3.0, 2.0])

    assert statistics.correlation(alive, np.full(4, alive.mean())) == 0
