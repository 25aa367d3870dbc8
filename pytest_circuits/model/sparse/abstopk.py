"""AbsTopK: the activation sparsity of weight-sparse transformers.

Gao et al. 2025, appendix A.1.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from pytest_circuits.model.sparse.selection import keep_in_rows, masked


def abs_top_k(x: Tensor, share: float) -> Tensor:
    """Keep the floor(share * D) entries of largest magnitude along the last axis, zero the rest.

    x: [..., D]. Values are unchanged and entries that tie with the smallest kept one are all kept,
    so that the result does not depend on their order. At least one entry is kept.
    """
    k = max(1, int(share * x.shape[-1]))
    if k >= x.shape[-1]:
        return x
    kept: Tensor = _AbsTopK.apply(x, k)  # type: ignore[no-untyped-call]
    return kept


class _AbsTopK(Function):
    """Remembers for the backward pass which entries were kept, not their values."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, k: int) -> Tensor:  # noqa: ANN401  (torch's own type)
        kept, mask = keep_in_rows(x, k)
        ctx.save_for_backward(mask)
        return kept

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401  (the same)
        (mask,) = ctx.saved_tensors
        return masked(grads[0], mask), None
