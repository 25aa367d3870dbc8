"""Schedules and projections against the formulas, on tensors small enough to check by hand."""

from __future__ import annotations

import pytest
import torch

from pytest_circuits.model import ModelConfig, SparseGPT
from pytest_circuits.train.config import Optimizer, Sparsity, TrainConfig
from pytest_circuits.train.loop import initialise, learning_rate
from pytest_circuits.train.sparsity import density_at, keep_largest, nonzeros, project

PLAN = Sparsity(density=0.1, anneal_start=0.2, anneal_stop=0.6)


@pytest.mark.parametrize(
    ("progress", "expected"),
    [(0.0, 1.0), (0.2, 1.0), (0.3, 0.775), (0.4, 0.55), (0.6, 0.1), (1.0, 0.1)],
)
def test_the_density_falls_linearly_between_start_and_stop(
    progress: float, expected: float
) -> None:
    assert density_at(progress, final=0.1, plan=PLAN) == pytest.approx(expected)


def test_the_largest_magnitudes_stay_unchanged() -> None:
    weight = torch.tensor([[1.0, -5.0, 0.1], [4.0, 0.2, -0.3]])
    keep_largest(weight, 0.5)
    assert weight.tolist() == [[1.0, -5.0, 0.0], [4.0, 0.0, 0.0]]


def test_a_floor_keeps_every_row_alive_inside_the_budget() -> None:
    weight = torch.tensor([[9.0, 8.0, 7.0], [0.1, 0.2, 0.3], [6.0, 5.0, 4.0]])
    keep_largest(weight, 4 / 9, floor=1, neuron_axis=0)
    expected = torch.tensor([[9.0, 8.0, 0], [0, 0, 0.3], [6.0, 0, 0]])
    assert torch.equal(weight, expected)


def test_a_floor_along_columns_keeps_every_column_alive() -> None:
    weight = torch.tensor([[9.0, 0.1], [8.0, 0.2], [7.0, 0.3]])
    keep_largest(weight, 2 / 6, floor=1, neuron_axis=1)
    assert weight.tolist() == [[9.0, 0.0], [0.0, 0.0], [0.0, pytest.approx(0.3)]]


def test_projection_brings_every_matrix_to_its_density_and_spares_the_rest() -> None:
    config = ModelConfig(vocab_size=50, n_layer=2, d_model=32, d_head=8, d_mlp=64, max_tokens=8)
    model = SparseGPT(config)
    initialise(model, seed=0)
    plan = Sparsity(density=0.1, embedding_density=0.25, min_per_neuron=1)
    assert project(model, plan, progress=1.0) == pytest.approx(0.1)
    for name, count in nonzeros(model).items():
        share = 0.25 if "embed" in name else 0.1
        numel = model.get_parameter(name).numel()
        assert count == int(share * numel), name
    assert all(
        p.count_nonzero() > 0 for n, p in model.named_parameters() if n.endswith("norm.weight")
    )
    for attn, mlp in model.layers():
        assert (attn.q.weight.count_nonzero(dim=1) > 0).all()
        assert (mlp.down.weight.count_nonzero(dim=0) > 0).all()


def test_the_learning_rate_warms_up_and_decays_to_zero() -> None:
    config = TrainConfig(optimizer=Optimizer(lr=1.0, warmup=0.1))
    rates = [learning_rate(p, config) for p in (0.05, 0.1, 0.55, 1.0)]
    assert rates == pytest.approx([0.5, 1.0, 0.5, 0.0])


def test_the_sharkfin_raises_the_rate_as_weights_disappear() -> None:
    config = TrainConfig(
        optimizer=Optimizer(lr=1.0, warmup=0.1, sharkfin=True),
        sparsity=Sparsity(density=0.04, anneal_start=0.1, anneal_stop=0.55),
    )
    assert learning_rate(0.1, config) == pytest.approx(0.2)  # sqrt(0.04 / 1) at full density
    assert learning_rate(0.55, config) == pytest.approx(0.5)  # the target is reached: no factor


def test_a_floor_that_exceeds_the_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="min_per_neuron 4 asks for more"):
        TrainConfig(sparsity=Sparsity(density=0.01, min_per_neuron=4))
