"""How many prompts are needed agrees with the bounds that decide, and with binomial tables."""

from __future__ import annotations

import pytest
from scipy.stats import binom

from pytest_circuits.claims.statistics import lower_bound, upper_bound
from pytest_circuits.plan.needs import allowed, least


@pytest.mark.parametrize(("share", "alpha"), [(0.02, 0.01), (0.05, 0.05), (0.65, 0.01)])
@pytest.mark.parametrize("n", [100, 500, 777])
def test_as_many_may_go_wrong_as_the_bound_lets_pass(share: float, alpha: float, n: int) -> None:
    passing = [wrong for wrong in range(n) if upper_bound(wrong, n, alpha) <= share]

    assert allowed(share, n=n, alpha=alpha) == max(passing, default=None)


@pytest.mark.parametrize(
    ("share", "alpha", "n"), [(0.05, 0.05, 59), (0.01, 0.05, 299), (0.001, 0.05, 2995)]
)
def test_the_fewest_prompts_are_those_of_the_rule_of_three(
    share: float, alpha: float, n: int
) -> None:
    assert least(share, alpha=alpha) == n
    assert allowed(share, n=n, alpha=alpha) == 0
    assert allowed(share, n=n - 1, alpha=alpha) is None
    assert lower_bound(n, n, alpha) >= 1 - share > lower_bound(n - 1, n - 1, alpha)


@pytest.mark.parametrize(("share", "true"), [(0.05, 0.02), (0.02, 0.004), (0.65, 0.5)])
@pytest.mark.parametrize("power", [0.8, 0.99])
def test_no_fewer_prompts_have_the_power(share: float, true: float, power: float) -> None:
    found = least(share, alpha=0.01, true=true, power=power)

    def power_of(n: int) -> float:
        wrong = allowed(share, n=n, alpha=0.01)
        return 0.0 if wrong is None else float(binom.cdf(wrong, n, true))

    assert found is not None
    assert power_of(found) >= power
    assert all(power_of(n) < power for n in range(1, found))


def test_a_rate_at_its_threshold_is_never_shown() -> None:
    assert least(0.02, alpha=0.01, true=0.02) is None


def test_up_to_ten_million_prompts_are_counted_and_no_more() -> None:
    assert least(5e-7, alpha=0.01) == 9_210_339
    assert least(4e-7, alpha=0.01) is None
