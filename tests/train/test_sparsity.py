"""Projection: which weights stay, held to small tensors by hand."""

from __future__ import annotations

import pytest
import torch

from pytest_circuits.model.sparse.config import ModelConfig
from pytest_circuits.model.sparse.gpt import SparseGPT
from pytest_circuits.train.config import Sparsity, TrainConfig
from pytest_circuits.train.loop import initialise
from pytest_circuits.train.sparsity import largest, nonzeros, project


def _kept(weight: list[list[float]], density: float, **options: int) -> list[list[float]]:
    tensor = torch.tensor(weight)
    kept: list[list[float]] = (tensor * largest(tensor, density, **options)).tolist()
    return kept


def test_the_largest_magnitudes_stay() -> None:
    weight = [[1.0, -5.0, 0.1], [4.0, 0.2, -0.3]]
    assert _kept(weight, 0.5) == [[1.0, -5.0, 0.0], [4.0, 0.0, 0.0]]


def test_a_floor_keeps_every_row_alive_inside_the_budget() -> None:
    weight = [[9.0, 8.0, 7.0], [0.25, 0.5, 0.75], [6.0, 5.0, 4.0]]
    expected = [[9.0, 8.0, 0.0], [0.0, 0.0, 0.75], [6.0, 0.0, 0.0]]
    assert _kept(weight, 4 / 9, floor=1, neuron_axis=0) == expected


def test_a_floor_along_columns_keeps_every_column_alive() -> None:
    weight = [[9.0, 0.25], [8.0, 0.5], [7.0, 0.75]]
    assert _kept(weight, 2 / 6, floor=1, neuron_axis=1) == [[9.0, 0.0], [0.0, 0.0], [0.0, 0.75]]


def _model() -> SparseGPT:
    config = ModelConfig(vocab_size=50, n_layer=2, d_model=32, d_head=8, d_mlp=64, max_tokens=8)
    model = SparseGPT(config)
    initialise(model, seed=0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(generator=torch.Generator().manual_seed(1))
    return model


def test_projection_brings_every_matrix_to_its_density_and_spares_the_rest() -> None:
    model = _model()
    project(model, Sparsity(density=0.1, embedding_density=0.25), progress=1.0)
    for name, count in nonzeros(model).items():
        share = 0.25 if "embed" in name else 0.1
        assert count == int(share * model.get_parameter(name).numel()), name
    rest = {n: p for n, p in model.named_parameters() if p.dim() == 1 and "sink" not in n}
    assert all(parameter.count_nonzero() == parameter.numel() for parameter in rest.values())


def test_the_floor_lies_on_the_side_of_the_neuron() -> None:
    model = _model()
    project(model, Sparsity(density=0.07, min_per_neuron=2), progress=1.0)
    for attn, mlp in model.layers():
        for into in (attn.q, attn.k, attn.v, mlp.up):
            assert (into.weight.count_nonzero(dim=1) >= 2).all()
        for out in (attn.out, mlp.down):
            assert (out.weight.count_nonzero(dim=0) >= 2).all()


def test_biases_are_sparse_when_asked() -> None:
    model = _model()
    project(model, Sparsity(density=0.1, bias_density=0.25), progress=1.0)
    for attn, mlp in model.layers():
        assert attn.q.bias.count_nonzero() == 8
        assert mlp.up.bias.count_nonzero() == 16
    assert model.unembed.bias.count_nonzero() == 50


def test_a_floor_that_exceeds_the_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="min_per_neuron 4 asks for more"):
        TrainConfig(sparsity=Sparsity(density=0.01, min_per_neuron=4))


@pytest.mark.parametrize("density", [0.02, 0.05, 0.1, 0.5])
@pytest.mark.parametrize("axis", [0, 1])
def test_what_is_kept_is_the_floor_and_the_largest_of_the_rest(density: float, axis: int) -> None:
    """The definition written out: the top of every neuron first, then the largest others."""
    weight = torch.randn(60, 80, generator=torch.Generator().manual_seed(0))
    neurons = weight.abs() if axis == 0 else weight.abs().T
    protected = torch.zeros_like(neurons, dtype=torch.bool)
    protected.scatter_(1, neurons.topk(1, dim=1).indices, value=True)
    rest = neurons.masked_fill(protected, -1.0).flatten()
    budget = int(density * weight.numel()) - int(protected.sum())
    expected = protected.flatten().scatter(0, rest.topk(budget).indices, value=True)
    expected = expected.view_as(neurons) if axis == 0 else expected.view_as(neurons).T
    assert torch.equal(largest(weight, density, floor=1, neuron_axis=axis), expected)


def test_a_neuron_that_is_dead_takes_nothing_from_the_others() -> None:
    weight = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
    weight[3] = 0.0
    kept = largest(weight, 64 / weight.numel(), floor=4)
    assert (kept & (weight != 0)).sum() == 64
