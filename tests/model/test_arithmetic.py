"""What is owned while work is done; that evidence stays the same is shown in tests/plugin."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pytest_circuits.model.arithmetic import SMALL, own_arithmetic, threads_for
from pytest_circuits.model.protocol import Kind, Site
from tests.odd_state import all_odd, state


@pytest.mark.parametrize(("width", "channels", "threads"), [(SMALL, 1, 1), (SMALL // 8, 9, 4)])
def test_a_model_takes_one_thread_unless_it_is_large(
    width: int, channels: int, threads: int
) -> None:
    model: Any = SimpleNamespace(sites={"x": Site(width, Kind.NEURON, channels=channels)})
    assert threads_for(model, most=4) == threads


def test_an_error_gives_everything_back() -> None:
    usual = state()
    with all_odd():
        before = state()
        with pytest.raises(ValueError, match="in the middle"), own_arithmetic(threads=2):
            _fail_at_work()
        assert state() == before
    assert state() == usual


def _fail_at_work() -> None:
    assert torch.ones(1).dtype == torch.float32
    assert torch.get_num_threads() == 2
    raise ValueError("in the middle")
