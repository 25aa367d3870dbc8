"""Exact selection: the k-th largest magnitude of every row, and of a whole matrix.

Both activations and weights of a weight-sparse transformer are cut to their largest magnitudes at
every step, so this is the inner loop of training. Every result is exact: a threshold is a value
that occurs, whatever estimate led to it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

Bits = NDArray[np.int32]

T = TypeVar("T")

_CHUNK = 1 << 18  # entries that a thread takes at a time: copy, threshold and result stay in cache
_SAMPLE, _STRIDE = 1 << 15, 16  # of a whole matrix, at most so many entries bracket the threshold
_MAGNITUDE = np.int32(0x7FFFFFFF)  # float32 magnitudes sort as the integers of these bits


def row_thresholds(x: Tensor, k: int) -> Tensor:
    """The k-th largest magnitude along the last axis. x: [..., D] -> [..., 1]."""
    if not _on_numpy(x):
        return x.abs().topk(k, dim=-1, sorted=True).values[..., -1:]
    rows = _rows(x)
    found = np.empty((len(rows), 1), np.int32)

    def select(part: slice) -> None:
        found[part] = _kth_of_rows(rows[part].view(np.int32) & _MAGNITUDE, k)

    _in_parallel(select, len(rows), width=rows.shape[1])
    return torch.from_numpy(found.view(np.float32)).view(*x.shape[:-1], 1)


def keep_in_rows(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Zeros below the k-th largest magnitude of each row, and the mask of what is kept.

    x: [..., D] -> [..., D], bool [..., D]. Entries that tie with the k-th are kept too.
    """
    if not _on_numpy(x):
        magnitude = x.abs()
        mask = magnitude >= magnitude.topk(k, dim=-1, sorted=True).values[..., -1:]
        return x * mask, mask
    rows = _rows(x)
    kept, chosen = np.empty_like(rows), np.empty(rows.shape, np.bool_)

    def select(part: slice) -> None:
        bits = rows[part].view(np.int32) & _MAGNITUDE
        np.greater_equal(bits, _kth_of_rows(bits, k), out=chosen[part])
        np.multiply(rows[part], chosen[part], out=kept[part])

    _in_parallel(select, len(rows), width=rows.shape[1])
    return torch.from_numpy(kept).view(x.shape), torch.from_numpy(chosen).view(x.shape)


def abs_top_k(x: Tensor, share: float) -> Tensor:
    """AbsTopK of Gao et al. 2025, appendix A.1: the activations of weight-sparse transformers.

    Keeps the floor(share * D) entries of largest magnitude along the last axis, zero for the rest.
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


def masked(x: Tensor, mask: Tensor) -> Tensor:
    """Return x * mask; by numpy on the CPU, in half of the time that torch needs with a bool."""
    if not _on_numpy(x):
        return x * mask
    rows, chosen = _rows(x), mask.view(-1, mask.shape[-1]).numpy()
    kept = np.empty_like(rows)

    def select(part: slice) -> None:
        np.multiply(rows[part], chosen[part], out=kept[part])

    _in_parallel(select, len(rows), width=rows.shape[1])
    return torch.from_numpy(kept).view(x.shape)


def threshold(x: Tensor, k: int) -> Tensor:
    """The k-th largest magnitude of a whole tensor, a scalar."""
    if not _on_numpy(x):
        return x.detach().flatten().abs().topk(k, sorted=True).values[-1]
    entries = _rows(x.detach().flatten())[0].view(np.int32)
    return torch.tensor(_kth_of_all(entries, k).view(np.float32).item())


def _on_numpy(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype == torch.float32


def _rows(x: Tensor) -> NDArray[np.float32]:
    rows: NDArray[np.float32] = x.detach().contiguous().view(-1, x.shape[-1]).numpy()
    return rows


def _kth_of_rows(bits: Bits, k: int) -> Bits:
    """[R, D] -> [R, 1]."""
    place = bits.shape[1] - k
    return np.partition(bits, place, axis=1)[:, place : place + 1]


def _kth_of_all(entries: Bits, k: int) -> np.int32:
    """[N] -> scalar. A sorted sample brackets the threshold; only the bracket is partitioned."""
    count = len(entries)
    sample = np.sort(entries[:: max(_STRIDE, count // _SAMPLE)] & _MAGNITUDE)
    share = k / count
    rank = int(len(sample) * (1 - share))
    spread = int(4 * np.sqrt(len(sample) * share * (1 - share))) + 2
    low = sample[max(rank - spread, 0)] if rank > spread else np.int32(0)
    high = sample[rank + spread] if rank + spread < len(sample) else _MAGNITUDE
    above, brackets = 0, []

    def collect(part: slice) -> tuple[int, Bits]:
        bits = entries[part] & _MAGNITUDE
        reaches = bits[bits >= max(low, 1)]  # zeros can be very many, and partition badly
        over = reaches > high
        return int(np.count_nonzero(over)), reaches[~over]

    for over, bracket in _in_parallel(collect, count):
        above += over
        brackets.append(bracket)
    inside = np.concatenate(brackets)
    if above < k <= above + len(inside):
        return _kth_of_bracket(inside, k - above)
    if k > above + len(inside) and low <= 1:
        return np.int32(0)
    return _kth_of_bracket(entries & _MAGNITUDE, k)  # the sample misled: the weights are ordered


def _kth_of_bracket(bits: Bits, k: int) -> np.int32:
    kth: np.int32 = np.partition(bits, len(bits) - k)[len(bits) - k]
    return kth


def _in_parallel(work: Callable[[slice], T], count: int, *, width: int = 1) -> list[T]:
    """Results of `work` on slices of `count` rows, on as many threads as torch uses."""
    threads = torch.get_num_threads()
    step = max(1, min(_CHUNK // width, -(-count // threads)))
    parts = [slice(start, start + step) for start in range(0, count, step)]
    if threads == 1 or len(parts) == 1:
        return [work(part) for part in parts]
    return list(_pool(threads).map(work, parts))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="selection")


if hasattr(os, "register_at_fork"):  # a forked process has the pool and none of its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
