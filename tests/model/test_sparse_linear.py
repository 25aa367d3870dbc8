"""Sparse products are the dense ones, forwards and backwards."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from pytest_circuits.model.sparse.directory import load_sparse_model
from pytest_circuits.model.sparse.sparse_linear import SparseLinear, use_sparse_products
from tests.known_models import write_quote_copier

BUNDLED = Path(__file__).parents[2] / "models" / "tinypython"


def _linear(d_in: int, d_out: int, *, density: float) -> nn.Linear:
    linear = nn.Linear(d_in, d_out).requires_grad_(requires_grad=False)
    generator = torch.Generator().manual_seed(d_in)
    linear.weight *= torch.rand(d_out, d_in, generator=generator) < density
    return linear


def _with_gradient(layer: nn.Linear, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    x = x.clone().requires_grad_()
    y = layer(x)
    (gradient,) = torch.autograd.grad(y.square().sum(), x)
    return y.detach(), gradient


@pytest.mark.parametrize("shape", [(1,), (70,), (3, 5), (2, 4, 9)])
@pytest.mark.parametrize("widths", [(256, 512), (300, 40), (7, 3)])
@pytest.mark.parametrize("density", [0.0, 0.02, 1.0])
def test_product_and_gradient(
    shape: tuple[int, ...], widths: tuple[int, int], density: float
) -> None:
    linear = _linear(*widths, density=density)
    x = torch.randn(*shape, widths[0], generator=torch.Generator().manual_seed(1))
    found, expected = (_with_gradient(layer, x) for layer in (SparseLinear(linear), linear))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_number_of_threads_changes_no_bit() -> None:
    sparse = SparseLinear(_linear(256, 1024, density=0.01))
    x = torch.randn(4096, 256, generator=torch.Generator().manual_seed(1))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = sparse(x)
        torch.set_num_threads(2)
        assert torch.equal(sparse(x), alone)
    finally:
        torch.set_num_threads(before)


def test_only_large_sparse_maps_are_replaced_and_nothing_is_renamed() -> None:
    module = nn.Sequential(
        _linear(256, 256, density=0.01),
        nn.Sequential(_linear(256, 256, density=0.5)),
        _linear(64, 64, density=0.01),
    )
    names = list(module.state_dict())
    use_sparse_products(module)
    assert [type(m) for m in module.modules() if isinstance(m, nn.Linear)] == [
        SparseLinear,
        nn.Linear,
        nn.Linear,
    ]
    assert list(module.state_dict()) == names


def test_a_loaded_model_uses_them_where_they_help(tmp_path: Path) -> None:
    sparse = load_sparse_model(BUNDLED)
    assert isinstance(sparse.module.layers()[0][1].up, SparseLinear)
    small = load_sparse_model(write_quote_copier(tmp_path))
    assert not isinstance(small.module.layers()[0][1].up, SparseLinear)
