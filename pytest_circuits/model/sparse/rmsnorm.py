"""RMSNorm (Zhang and Sennrich 2019) with half of the passes over memory that autograd's needs.

Gao et al. 2025 use it in place of LayerNorm, because zero stays zero (appendix A.1).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

# torch's default for float32, in which the published models were made; the same in any precision.
EPS = torch.finfo(torch.float32).eps


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + EPS) * weight, over the last axis."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def scale(self, x: Tensor) -> Tensor:
        """What the input is multiplied by before the weight: [..., D] -> [..., 1]."""
        scale = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        found: Tensor = scale.square().div(x.shape[-1]).add(EPS).rsqrt()
        return found

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        if x.device.type != "cpu":
            return F.rms_norm(x, (x.shape[-1],), self.weight, EPS)  # one fused kernel there
        normed: Tensor = _RMSNorm.apply(x, self.weight)  # type: ignore[no-untyped-call]
        return normed


class _RMSNorm(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:  # noqa: ANN401  (torch's own type)
        scale = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale.square_().div_(x.shape[-1]).add_(EPS).rsqrt_()
        unit = x * scale
        ctx.save_for_backward(unit, scale, weight)
        normed: Tensor = unit * weight
        return normed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN401  (the same)
        unit, scale, weight = ctx.saved_tensors
        product = grads[0] * unit
        along = (product @ weight).unsqueeze(-1) / unit.shape[-1]  # what points along x is lost
        into = (grads[0] * weight).addcmul_(unit, along, value=-1).mul_(scale)
        return into, product.reshape(-1, unit.shape[-1]).sum(0)
