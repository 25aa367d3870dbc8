"""Schedules held to the formulas of Gao et al. 2025, A.2, and of the released script."""

from __future__ import annotations

from math import log, sqrt

import pytest

from pytest_circuits.train.config import Optimizer, Sparsity, TrainConfig
from pytest_circuits.train.loop import learning_rate
from pytest_circuits.train.sparsity import bias_density_at, density_at, embedding_density_at

STEPS = [i / 97 for i in range(1, 98)]
PUBLISHED = Sparsity(density=1 / 64, embedding_density=1 / 16)  # expansion 4, pfrac 1/4


def _pfrac(progress: float) -> float:
    """The script's pi_t: from expansion^2 = 16 to 1/4 between 1 % and 50 % of the steps."""
    done = min(max((progress - 0.01) / 0.49, 0.0), 1.0)
    return 16 + (0.25 - 16) * done


@pytest.mark.parametrize("progress", STEPS)
def test_block_matrices_follow_the_released_script(progress: float) -> None:
    assert density_at(progress, PUBLISHED) == pytest.approx(min(1.0, _pfrac(progress) / 16))


@pytest.mark.parametrize("progress", STEPS)
def test_embeddings_follow_the_released_script(progress: float) -> None:
    own = 0.25 + (4 - 0.25) * (_pfrac(progress) - 0.25) / (16 - 0.25)
    assert embedding_density_at(progress, PUBLISHED) == pytest.approx(min(1.0, own / 4))


@pytest.mark.parametrize("progress", STEPS)
def test_late_embeddings_follow_the_slip_that_the_paper_kept(progress: float) -> None:
    plan = PUBLISHED.model_copy(update={"embedding_anneal": "late"})
    assert embedding_density_at(progress, plan) == pytest.approx(min(1.0, _pfrac(progress) / 4))


def test_late_embeddings_stay_dense_until_three_quarters_of_the_way() -> None:
    plan = PUBLISHED.model_copy(update={"embedding_anneal": "late"})
    assert embedding_density_at(0.01 + 0.49 * 0.76, plan) == 1.0
    assert embedding_density_at(0.01 + 0.49 * 0.77, plan) < 1.0


def test_an_exponent_bends_the_way_down() -> None:
    plan = Sparsity(
        density=0.1, anneal_start=0.2, anneal_stop=0.6, anneal="exponent", anneal_exponent=2
    )
    by_hand = [1.0, 1 - 0.9 * (1 - 0.75**2), 1 - 0.9 * 0.75, 0.1]
    assert [density_at(p, plan) for p in (0.2, 0.3, 0.4, 0.6)] == pytest.approx(by_hand)


def test_exponential_annealing_is_linear_in_log_density() -> None:
    plan = Sparsity(density=0.01, anneal_start=0.0, anneal_stop=0.5, anneal="exponential")
    assert [density_at(p, plan) for p in (0.125, 0.25, 0.5)] == pytest.approx(
        [0.01**0.25, 0.1, 0.01]
    )


def test_log_log_annealing_is_linear_in_log_time_too() -> None:
    plan = Sparsity(density=0.01, anneal_start=0.01, anneal_stop=1.0, anneal="log-log")
    assert density_at(0.1, plan) == pytest.approx(0.1)  # halfway between 0.01 and 1 in log time
    slope = (log(density_at(0.5, plan)) - log(density_at(0.05, plan))) / log(10)
    assert slope == pytest.approx(log(0.01) / log(100))


@pytest.mark.parametrize("anneal", ["linear", "exponent", "exponential", "log-log"])
def test_every_annealing_starts_dense_and_ends_at_its_density(anneal: str) -> None:
    plan = Sparsity.model_validate({"density": 0.05, "anneal": anneal, "bias_density": 0.5})
    assert density_at(0.01, plan) == 1.0
    assert density_at(0.5, plan) == density_at(1.0, plan) == 0.05
    assert bias_density_at(1.0, plan) == 0.5
    way = [density_at(p, plan) for p in STEPS]
    assert way == sorted(way, reverse=True)


@pytest.mark.parametrize(
    ("decay", "expected"),
    [("linear", [0.5, 1.0, 0.5, 0.0]), ("cosine", [0.5, 1.0, 0.5, 0.0]), ("none", [0.5, 1, 1, 1])],
)
def test_the_learning_rate_warms_up_and_decays(decay: str, expected: list[float]) -> None:
    plan = Optimizer.model_validate({"lr": 1.0, "warmup": 0.1, "decay": decay})
    config = TrainConfig(optimizer=plan)
    rates = [learning_rate(p, config) for p in (0.05, 0.1, 0.55, 1.0)]
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize("progress", STEPS)
def test_the_sharkfin_is_the_released_script_s(progress: float) -> None:
    warmup = progress / 0.01 if progress < 0.01 else 1 - (progress - 0.01) / 0.99
    expected = 0.0128 * warmup * sqrt(0.25 / _pfrac(progress))
    config = TrainConfig(sparsity=PUBLISHED, optimizer=Optimizer(lr=0.0128, sharkfin=True))
    assert learning_rate(progress, config) == pytest.approx(expected)
