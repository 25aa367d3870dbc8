"""RMSNorm against torch's own, values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from pytest_circuits.model.sparse.rmsnorm import EPS, RMSNorm


@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 3, 64)])
def test_values_and_gradients_are_those_of_torch(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    x.view(-1, shape[-1])[0] *= 1e-5  # where the epsilon counts
    gradient = torch.randn(shape, generator=generator, dtype=torch.float64)
    norm = RMSNorm(shape[-1]).double()
    with torch.no_grad():
        norm.weight.normal_(generator=generator)
    ours, theirs = (x.clone().requires_grad_() for _ in range(2))
    out = norm(ours)
    out.backward(gradient)
    weight = norm.weight.detach().clone().requires_grad_()
    expected = F.rms_norm(theirs, (shape[-1],), weight, EPS)
    expected.backward(gradient)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(ours.grad, theirs.grad)
    torch.testing.assert_close(norm.weight.grad, weight.grad)


def test_zero_stays_zero() -> None:
    assert RMSNorm(4)(torch.zeros(2, 4)).count_nonzero() == 0
