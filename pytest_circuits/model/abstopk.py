"""AbsTopK: the activation sparsity of weight-sparse transformers.

Gao et al. 2025, appendix A.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor


def kth_largest(magnitude: Tensor, k: int) -> Tensor:
    """Value of the k-th largest entry along the last axis, shape [..., 1]; exact.

    On the CPU, numpy's vectorised partition is several times faster than torch's own selection.
    """
    if magnitude.device.type == "cpu" and magnitude.dtype in (torch.float32, torch.float64):
        position = magnitude.shape[-1] - k
        ordered = np.partition(magnitude.detach().numpy(), position, axis=-1)
        return torch.from_numpy(ordered[..., position : position + 1].copy())
    return magnitude.topk(k, dim=-1, sorted=True).values[..., -1:]


def abs_top_k(x: Tensor, share: float) -> Tensor:
    """Keep the floor(share * D) entries of largest magnitude along the last axis, zero the rest.

    x: [..., D]. Values are unchanged and entries that tie with the smallest kept one are all kept,
    so that the result does not depend on their order. At least one entry is kept.
    """
    k = max(1, int(share * x.shape[-1]))
    if k >= x.shape[-1]:
        return x
    magnitude = x.abs()
    return x * (magnitude >= kth_largest(magnitude, k))
