"""Selection against sorting: exact for every width, rank, tie and number of threads."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_circuits.model.sparse.selection import (
    abs_top_k,
    keep_in_rows,
    masked,
    row_thresholds,
    threshold,
)


@pytest.fixture(params=[1, 2])
def _threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def _normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _sorted_threshold(rows: torch.Tensor, k: int) -> torch.Tensor:
    return rows.abs().sort(dim=-1, descending=True).values[..., k - 1 : k]


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("width", [1, 7, 256, 512, 513, 700, 1024, 1500, 4096])
def test_row_thresholds_are_those_of_sorting(width: int) -> None:
    rows = _normal(1200 if width == 512 else 5, width)
    for k in sorted({1, max(1, width // 4), min(512, width), width}):
        assert torch.equal(row_thresholds(rows, k), _sorted_threshold(rows, k)), k


@given(
    values=st.lists(
        st.sampled_from([0.0, -0.0, 0.5, -0.5, 1.0, 2.0, float("inf")]), min_size=1, max_size=40
    ),
    data=st.data(),
)
def test_ties_zeros_and_infinities_are_ordered_by_magnitude(
    values: list[float], data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(values)))
    rows = torch.tensor([values])
    kept, mask = keep_in_rows(rows, k)
    expected = rows.abs() >= _sorted_threshold(rows, k)
    assert torch.equal(mask, expected)
    assert kept.tolist()[0] == [x if m else 0.0 for x, m in zip(values, mask[0], strict=True)] or (
        float("inf") in values  # infinity times false is not a number, and the loss says so
    )


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("count", [1, 1000, 200_000, 1_000_000])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_the_threshold_of_a_matrix_is_that_of_sorting(count: int, share: float) -> None:
    flat = _normal(count)
    k = max(1, int(share * count))
    assert threshold(flat, k) == _sorted_threshold(flat, k)


@pytest.mark.parametrize("order", ["ascending", "one large in every stride", "mostly zero"])
def test_a_sample_that_misleads_changes_no_threshold(order: str) -> None:
    flat = _normal(300_000).abs()
    if order == "ascending":
        flat = flat.sort().values
    elif order == "mostly zero":
        flat[:290_000] = 0.0
    else:
        flat[:: len(flat) // (1 << 15)] += 10.0
    for k in (10, 3_000, 40_000, 250_000):
        assert threshold(flat, k) == _sorted_threshold(flat, k), k


def test_half_precision_takes_another_way_to_the_same_threshold() -> None:
    rows = _normal(50, 33).bfloat16()
    assert torch.equal(row_thresholds(rows, 7).float(), row_thresholds(rows.float(), 7))
    assert threshold(rows, 40) == threshold(rows.float(), 40)
    assert torch.equal(keep_in_rows(rows, 7)[1], keep_in_rows(rows.float(), 7)[1])


def test_masking_keeps_the_shape_and_the_entries_of_the_mask() -> None:
    x = _normal(2, 3, 8).transpose(0, 1)
    mask = _normal(3, 2, 8, seed=1) > 0
    assert torch.equal(masked(x, mask), x * mask)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_selects_with_threads_of_its_own() -> None:
    rows = _normal(2000, 256)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    expected = row_thresholds(rows, 7)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(0 if torch.equal(row_thresholds(rows, 7), expected) else 1)
    torch.set_num_threads(before)
    assert os.waitpid(child, 0)[1] == 0


def test_a_second_derivative_is_refused_instead_of_wrong() -> None:
    x = _normal(3, 8).requires_grad_()
    (first,) = torch.autograd.grad(abs_top_k(x, 0.5).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()  # type: ignore[no-untyped-call]
