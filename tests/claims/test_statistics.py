"""The bounds agree with closed forms and with scipy, and hold as often as they say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from pytest_circuits.claims import statistics
from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.claims.findings import gap_finding
from pytest_circuits.claims.statistics import (
    GAPS,
    LOSS_CAP,
    LOSSES,
    Floats,
    Interval,
    softplus,
)

ALPHA = 0.01
Draw = Callable[[np.random.Generator, int], Floats]


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (1, 59), (30, 60), (492, 500), (7, 7)])
def test_clopper_pearson_bounds_are_those_of_scipy(hits: int, n: int) -> None:
    two_sided = stats.binomtest(hits, n).proportion_ci(1 - 2 * ALPHA, method="exact")

    assert statistics.lower_bound(hits, n, ALPHA) == pytest.approx(two_sided.low)
    assert statistics.upper_bound(hits, n, ALPHA) == pytest.approx(two_sided.high)


def test_without_a_single_miss_the_lower_bound_is_the_root_of_alpha() -> None:
    assert statistics.lower_bound(59, 59, 0.05) == pytest.approx(0.05 ** (1 / 59))
    assert statistics.upper_bound(0, 59, 0.05) == pytest.approx(1 - 0.05 ** (1 / 59))


def rare(share: float, loss: float) -> Draw:
    return lambda generator, n: np.where(generator.random(n) < share, loss, 0.0)


def ordinary(generator: np.random.Generator, n: int) -> Floats:
    return softplus(generator.normal(3, 2, size=n))


LOSS_KINDS = {
    "softplus": ordinary,
    "6 nats on 5 %": rare(0.05, 6),
    "10 nats on 2 %": rare(0.02, 10),
    "40 nats on 0.5 %": rare(0.005, 40),
}


@pytest.mark.parametrize("n", [16, 100, 500])
@pytest.mark.parametrize("kind", LOSS_KINDS)
def test_a_mean_lies_beyond_its_bound_at_most_as_often_as_alpha_says(kind: str, n: int) -> None:
    draw = LOSS_KINDS[kind]
    truth = draw(np.random.default_rng(3), 1_000_000).clip(max=LOSS_CAP).mean()
    draws = [draw(np.random.default_rng([4, seed]), n) for seed in range(300)]

    intervals = [statistics.mean(losses, ALPHA, LOSSES) for losses in draws]

    above = np.mean([interval.lower > truth for interval in intervals])
    below = np.mean([interval.upper < truth for interval in intervals])
    assert max(above, below) <= ALPHA + 2 * np.sqrt(ALPHA * (1 - ALPHA) / 300)


@pytest.mark.parametrize("centre", [-0.3, 0.0, 0.4])
def test_a_mean_gap_lies_beyond_its_bound_at_most_as_often_as_alpha_says(centre: float) -> None:
    def draw(n: int, seed: int) -> Floats:
        generator = np.random.default_rng([5, seed])
        return generator.normal(centre, 0.2, size=n) + rare(0.03, 5)(generator, n)

    truth = draw(1_000_000, 300).clip(*GAPS).mean()

    intervals = [statistics.mean(draw(100, seed), ALPHA, GAPS) for seed in range(300)]

    assert np.mean([interval.upper < truth for interval in intervals]) <= 0.02
    assert np.mean([interval.lower > truth for interval in intervals]) <= 0.02
    assert np.mean([interval.upper for interval in intervals]) < truth + 0.5


def test_a_mean_without_any_loss_is_bounded_like_a_rate_at_half_of_alpha() -> None:
    none = np.zeros(500)

    interval = statistics.mean(none, ALPHA, LOSSES)

    of_a_rate = [LOSS_CAP * statistics.upper_bound(0, 500, a) for a in (ALPHA, ALPHA / 2)]
    assert of_a_rate[0] < interval.upper <= of_a_rate[1]
    assert (interval.lower, interval.estimate) == (0, 0)


def test_where_every_loss_is_at_the_cap_so_is_the_bound() -> None:
    assert statistics.mean(np.full(500, LOSS_CAP), ALPHA, LOSSES).upper == LOSS_CAP


def test_one_draw_tells_next_to_nothing() -> None:
    interval = statistics.mean(np.array([0.1]), ALPHA, LOSSES)

    assert 0 <= interval.lower < 0.01
    assert 0.95 * LOSS_CAP < interval.upper <= LOSS_CAP


def test_bounds_of_a_mean_are_the_wider_the_surer_they_have_to_be() -> None:
    losses = ordinary(np.random.default_rng(6), 100)

    intervals = [statistics.mean(losses, alpha, LOSSES) for alpha in (0.1, 0.01, 0.001)]

    uppers = [interval.upper for interval in intervals]
    lowers = [interval.lower for interval in intervals]
    assert uppers == sorted(uppers)
    assert lowers == sorted(lowers, reverse=True)


def test_bounds_of_a_mean_do_not_depend_on_the_order_of_the_draws() -> None:
    losses = ordinary(np.random.default_rng(7), 100)

    there, back = (statistics.mean(each, ALPHA, LOSSES) for each in (losses, losses[::-1]))

    assert (there.lower, there.upper) == pytest.approx((back.lower, back.upper), abs=1e-12)


def test_a_mean_that_the_cap_alone_would_let_pass_does_not() -> None:
    losses = np.where(np.arange(500) < 5, 40.0, 0.0)  # 0.4 nats in the mean, 0.025 with the cap

    interval = statistics.mean(losses, ALPHA, LOSSES)

    assert interval.upper == interval.estimate == pytest.approx(0.4)
    assert statistics.at_most(interval, 0.15) is Verdict.INCONCLUSIVE


def test_draws_of_the_number_that_was_said_settle_a_mean() -> None:
    losses = ordinary(np.random.default_rng(8), 100)
    most = losses.mean() + 0.05

    n = statistics.draws_needed(losses, most, ALPHA, LOSSES)

    assert n is not None
    assert n > 200
    assert statistics.mean(np.resize(losses, n), ALPHA, LOSSES).upper <= most
    assert statistics.mean(np.resize(losses, n // 2), ALPHA, LOSSES).upper > most


def test_no_number_of_draws_settles_a_mean_at_its_limit() -> None:
    losses = ordinary(np.random.default_rng(8), 100)

    assert statistics.draws_needed(losses, losses.mean(), ALPHA, LOSSES) is None


@pytest.mark.parametrize(("lower", "upper"), [(0.1, 0.1), (0.0, 0.1), (0.1, 0.3), (0.25, 0.3)])
def test_a_gap_claims_the_whole_space_where_it_was_run_and_nowhere_else(
    lower: float, upper: float
) -> None:
    gap = Interval(lower, lower, upper)

    sampled = gap_finding(gap, 0.2, what="x", alpha=ALPHA, exhaustive=False).sentence
    whole = gap_finding(gap, 0.2, what="x", alpha=ALPHA, exhaustive=True).sentence

    assert "with 99 % confidence, losses beyond 2.5 nats counted as 2.5" in sampled
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


def test_the_fewest_draws_that_can_show_a_mean_do_and_one_less_does_not() -> None:
    n = statistics.fewest_draws(0.15, ALPHA, LOSSES)

    assert statistics.mean(np.zeros(n), ALPHA, LOSSES).upper <= 0.15
    assert statistics.mean(np.zeros(n - 1), ALPHA, LOSSES).upper > 0.15
