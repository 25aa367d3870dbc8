"""The formal tests of the circuit hypothesis, against scipy and without their known slips."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, kstest

from pytest_circuits.claims.faithful.formal import distance_p, equivalence, independence

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("wins", "n"), [(5, 10), (7, 10), (0, 20), (13, 40), (40, 40)])
def test_equivalence_is_the_exact_binomial_test_of_the_share_of_wins(wins: int, n: int) -> None:
    alone = np.where(np.arange(n) < wins, 9.0, -3.0)  # the mean difference says nothing

    share, p = equivalence(np.zeros(n), alone, tie=1e-4)

    away = abs(wins / n - 0.5)
    counts = np.arange(n + 1)
    far = counts[np.abs(counts / n - 0.5) >= away - 1e-9]
    assert share == wins / n
    assert p == pytest.approx(binom.pmf(far, n, 0.6).sum())


def test_a_model_is_equivalent_to_itself() -> None:
    scores = RNG.normal(size=50)

    assert equivalence(scores, scores, tie=1e-4) == (0.5, 1.0)


def test_independence_of_what_is_related_is_refuted_and_never_with_certainty() -> None:
    x = RNG.normal(size=60)

    assert independence(x, x**2, tie=1e-4, seed=1) == 1 / 1000


def test_p_values_of_what_is_unrelated_are_uniform() -> None:
    found = [independence(*RNG.normal(size=(2, 20)), tie=1e-4, seed=seed) for seed in range(40)]

    assert kstest(found, "uniform").pvalue > 0.01


def test_rounding_is_no_relation() -> None:
    x = RNG.normal(size=40)

    assert independence(x, 3 + 1e-7 * x, tie=1e-4, seed=1) == 1


def test_a_circuit_is_ranked_by_its_distance_from_the_whole_model() -> None:
    whole, near, far = np.full((3, 2), 5.0), np.full((3, 2), 4.0), np.zeros((9, 3, 2))

    assert distance_p(near, far, whole, far=False) == 1 / 10
    assert distance_p(near, far, whole, far=True) == 1
    assert distance_p(far[0], far, whole, far=True) == 1, "a tie is no evidence"
