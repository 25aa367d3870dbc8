"""Linear maps of which few weights are not zero, by sparse products on the CPU.

The weights of a weight-sparse transformer that is trained are mostly zero and do not change any
more; a dense product spends nearly all of its time on them.
"""

from __future__ import annotations

from typing import Any

import torch
from scipy.sparse import csr_array
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

DENSEST = 0.05  # share of nonzero weights up to which the sparse product was the faster one
SMALLEST = 128 * 128  # weights; below that the dense product is as fast
_ROWS = 256  # of the input at a time, so that both transposes stay in cache


class SparseLinear(nn.Linear):
    """A frozen nn.Linear, weights and all, that multiplies by its nonzero weights alone."""

    def __init__(self, linear: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        matrix = csr_array(linear.weight.detach().numpy())
        self._maps = matrix, matrix.T.tocsr()

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch's name)
        """[..., in] -> [..., out]; the weights need no gradient."""
        sums: Tensor = _Product.apply(input, *self._maps, self.bias)  # type: ignore[no-untyped-call]
        return sums


class _Product(Function):
    """x @ matrix.T + bias, and the gradient of x."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  (torch's own type)
        x: Tensor,
        matrix: csr_array,
        transposed: csr_array,
        bias: Tensor,
    ) -> Tensor:
        ctx.transposed = transposed
        return _product(x, matrix, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:  # noqa: ANN401  (the same)
        return _product(grads[0], ctx.transposed), None, None, None


def _product(x: Tensor, matrix: csr_array, bias: Tensor | None = None) -> Tensor:
    """[..., in] -> [..., out]."""
    shift = None if bias is None else bias.detach().unsqueeze(1).numpy()
    rows = x.detach().reshape(-1, x.shape[-1])
    out = rows.new_empty(len(rows), matrix.shape[0])
    # In one thread: scipy holds the interpreter's lock.
    for some, product in zip(torch.split(rows, _ROWS), torch.split(out, _ROWS), strict=True):
        sums = matrix @ some.T.contiguous().numpy()
        if shift is not None:
            sums += shift
        product.copy_(torch.from_numpy(sums).T)
    return out.view(*x.shape[:-1], -1)


def use_sparse_products(module: nn.Module) -> None:
    """Replace the linear maps of a frozen module on the CPU whose weights are nearly all zero."""
    for name, child in module.named_children():
        if not isinstance(child, nn.Linear):
            use_sparse_products(child)
        elif child.weight.numel() >= SMALLEST and _density(child.weight) <= DENSEST:
            setattr(module, name, SparseLinear(child))


def _density(weight: Tensor) -> float:
    return int(weight.count_nonzero()) / weight.numel()
