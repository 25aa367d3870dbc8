"""The figures of a run: lines that go on after an interruption, and TensorBoard."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest

from pytest_circuits.errors import UsageError
from pytest_circuits.train.metrics import METRICS, recording
from tests.train.conftest import Train


def test_metrics_hold_what_is_told(run_train: Train, out: Path) -> None:
    run_train()
    path = out.with_name("tiny.training") / METRICS
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == [2, 4, 6, 8, 10, 12]
    assert set(steps[0]) == {
        *("step", "loss", "gradient_norm", "density", "lr", "tokens_per_second")
    }
    scores = [line for line in lines if "held_out_loss" in line]
    assert [line["step"] for line in scores] == [6, 12]
    assert scores[-1]["nonzeros"]["mlp.0.up.weight"] == int(0.1 * 32 * 64)
    assert 0 < scores[-1]["bits_per_byte"]["library"] < 8
    assert 0 <= scores[-1]["dead_neurons"]["0"] <= 64


def test_lines_of_a_part_that_was_lost_and_broken_lines_are_taken_out(tmp_path: Path) -> None:
    path = tmp_path / METRICS
    path.write_text('{"step": 2}\n{"step": 4}\n{"step": 6}\n{"ste')
    with recording(tmp_path, after=4, tensorboard=False) as metrics:
        metrics.add(6, {"loss": 1.5})
    assert path.read_text() == '{"step": 2}\n{"step": 4}\n{"loss": 1.5, "step": 6}\n'


class _Writer:
    made: ClassVar[list[_Writer]] = []

    def __init__(self, folder: str, *, purge_step: int) -> None:
        self.folder, self.purge_step, self.closed = folder, purge_step, False
        self.scalars: list[tuple[str, float, int]] = []
        self.made.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars.append((name, value, step))

    def close(self) -> None:
        self.closed = True


def test_tensorboard_gets_the_same_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = _Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    with recording(tmp_path, after=4, tensorboard=True) as metrics:
        metrics.add(6, {"loss": 1.5, "accuracy": {"quote": 0.5}})
    writer = _Writer.made.pop()
    assert writer.scalars == [("loss", 1.5, 6), ("accuracy/quote", 0.5, 6)]
    assert (writer.purge_step, writer.closed) == (5, True)


def test_a_missing_tensorboard_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with (
        pytest.raises(UsageError, match=r"pip install .*tensorboard"),
        recording(tmp_path, after=0, tensorboard=True),
    ):
        pass
