"""Stopped, killed and resumed: the same weights, and never a state that is lost."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pytest_circuits.cli import main
from pytest_circuits.model import checkpoints
from pytest_circuits.train import course, descent, job, loop
from tests.train.conftest import RECIPE, Train


def _weights(out: Path) -> str:
    return hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()


def _kept(out: Path) -> list[str]:
    return sorted(p.name for p in out.with_name("tiny.training").glob("checkpoint-*"))


def _steps(out: Path) -> list[int]:
    lines = out.with_name("tiny.training").joinpath("metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines if "loss" in json.loads(line)]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The weights of a run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    (folder / "tiny.yaml").write_text(RECIPE)
    arguments = ["train", str(folder / "tiny.yaml"), "--out", str(folder / "tiny")]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    return _weights(folder / "tiny")


@dataclass(frozen=True, slots=True)
class Mishap:
    """What happens to the next run, until it is undone."""

    patch: pytest.MonkeyPatch

    def at(self, number: int, cause: BaseException | signal.Signals) -> None:
        """Die as a killed process does, or be asked to stop, after a number of steps."""
        step = loop.Trainer.step

        def dying(trainer: loop.Trainer, *arguments: Any, **options: Any) -> loop.Step:  # noqa: ANN401
            if trainer.done == number:
                if isinstance(cause, BaseException):
                    raise cause
                os.kill(os.getpid(), cause)
            return step(trainer, *arguments, **options)

        self.patch.setattr(loop.Trainer, "step", dying)

    def undo(self) -> None:
        """Let the runs after this go well."""
        self.patch.undo()


@pytest.fixture
def mishap(monkeypatch: pytest.MonkeyPatch) -> Mishap:
    """Something that disturbs a run."""
    return Mishap(monkeypatch)


@pytest.mark.parametrize("number", [1, 4, 7, 11])
def test_a_killed_run_resumes_to_the_same_weights(
    run_train: Train,
    out: Path,
    uninterrupted: str,
    mishap: Mishap,
    number: int,
) -> None:
    mishap.at(number, SystemExit(9))
    assert run_train().exit_code == 9
    assert not out.exists()
    assert _kept(out) == [f"checkpoint-{s:08d}" for s in (4, 8) if s <= number]
    mishap.undo()
    result = run_train("--resume")
    assert result.exit_code == 0, result.output
    assert _weights(out) == uninterrupted
    assert _steps(out) == [2, 4, 6, 8, 10, 12]


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_stops_within_a_step(
    run_train: Train,
    out: Path,
    uninterrupted: str,
    mishap: Mishap,
    asked: signal.Signals,
) -> None:
    mishap.at(6, asked)
    result = run_train()
    assert result.exit_code == 75
    assert f"stopped by {asked.name} after step 7 of 12" in result.output
    assert "--resume" in result.output
    assert _kept(out) == ["checkpoint-00000004", "checkpoint-00000007"]
    mishap.undo()
    assert run_train("--resume").exit_code == 0
    assert _weights(out) == uninterrupted


def test_a_signal_at_the_last_step_lets_the_run_end(
    run_train: Train, out: Path, uninterrupted: str, mishap: Mishap
) -> None:
    mishap.at(11, signal.SIGTERM)
    assert run_train().exit_code == 0
    assert _weights(out) == uninterrupted


def test_an_interruption_while_the_model_is_written_leaves_no_part_of_it(
    run_train: Train, out: Path, uninterrupted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "measure_reference", interrupt)  # all else is written then
    result = run_train()
    assert result.exit_code == 75
    assert "was not written" in result.output
    assert not out.exists()
    assert not list(out.parent.glob(".tiny*"))
    monkeypatch.undo()
    assert run_train("--resume").exit_code == 0
    assert _weights(out) == uninterrupted


def test_resuming_a_finished_run_says_so_and_changes_nothing(run_train: Train, out: Path) -> None:
    run_train()
    before = _weights(out)
    result = run_train("--resume")
    assert result.exit_code == 0
    assert "this run is finished" in result.output
    assert _weights(out) == before


def test_resuming_where_nothing_is_starts_from_nothing(
    run_train: Train, out: Path, uninterrupted: str
) -> None:
    assert run_train("--resume").exit_code == 0
    assert _weights(out) == uninterrupted


def test_an_earlier_run_is_not_overwritten(run_train: Train, out: Path, mishap: Mishap) -> None:
    mishap.at(6, SystemExit(9))
    run_train()
    result = run_train()
    assert result.exit_code == 4
    assert "an earlier run began here; go on with it by --resume" in result.output
    assert _kept(out) == ["checkpoint-00000004"]


def test_a_configuration_that_failed_at_once_may_be_mended(run_train: Train) -> None:
    missing = run_train(data="{sources: [{folder: {path: nowhere}}]}")
    assert missing.exit_code == 4
    assert run_train().exit_code == 0


def test_a_finished_run_is_cleared_up_by_its_own_configuration_alone(
    run_train: Train, out: Path
) -> None:
    assert run_train().exit_code == 0
    left = out.with_name("tiny.training") / "tokens"
    left.mkdir()  # killed before it could clear up
    other = run_train("--resume", seed="3")
    assert other.exit_code == 4
    assert "has another seed" in other.output
    assert run_train("--resume").exit_code == 0
    assert not left.exists()


def test_a_run_is_resumed_with_its_own_configuration_alone(
    run_train: Train, mishap: Mishap
) -> None:
    mishap.at(6, SystemExit(9))
    run_train()
    mishap.undo()
    result = run_train("--resume", optimizer="{lr: 0.1}", seed="3")
    assert result.exit_code == 4
    assert "has another optimizer.lr, seed" in result.output


def test_how_often_something_is_told_may_change(
    run_train: Train,
    out: Path,
    uninterrupted: str,
    mishap: Mishap,
) -> None:
    mishap.at(6, SystemExit(9))
    run_train()
    mishap.undo()
    result = run_train("--resume", checkpoints="{every: 5}", metrics="{every: 3}")
    assert result.exit_code == 0, result.output
    assert _weights(out) == uninterrupted


def test_a_damaged_newest_checkpoint_is_said_and_the_one_before_is_used(
    run_train: Train,
    out: Path,
    uninterrupted: str,
    mishap: Mishap,
) -> None:
    mishap.at(10, SystemExit(9))
    run_train()
    mishap.undo()
    newest = out.with_name("tiny.training") / "checkpoint-00000008" / "tensors.safetensors"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    result = run_train("--resume")
    assert result.exit_code == 0
    assert "checkpoint-00000008 is damaged and passed over" in result.output
    assert "going on after step 4" in result.output
    assert _weights(out) == uninterrupted


def test_a_full_disk_keeps_the_last_good_checkpoint(
    run_train: Train, out: Path, uninterrupted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = checkpoints.save

    def full(folder: Path, checkpoint: checkpoints.Checkpoint, *, keep: int) -> Path:
        if checkpoint.step == 8:

            def refuse(*_: object) -> None:
                raise OSError(errno.ENOSPC, "No space left on device")

            monkeypatch.setattr(checkpoints, "write_synced", refuse)
        return save(folder, checkpoint, keep=keep)

    monkeypatch.setattr(job, "save", full)
    result = run_train()
    assert result.exit_code == 2
    assert "the disk is full" in result.output
    assert "checkpoint-00000004, is kept, and --resume continues from it" in result.output
    monkeypatch.undo()
    assert run_train("--resume").exit_code == 0
    assert _weights(out) == uninterrupted


def test_a_disk_that_is_full_when_the_model_is_written_keeps_the_state(
    run_train: Train, out: Path, uninterrupted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "model.safetensors")

    monkeypatch.setattr(job, "save_model", refuse)
    result = run_train()
    assert result.exit_code == 2
    assert "model.safetensors: cannot be written: No space left on device" in result.output
    assert not out.exists()
    monkeypatch.undo()
    assert run_train("--resume").exit_code == 0
    assert _weights(out) == uninterrupted


def test_other_threads_are_said_when_a_run_is_resumed(
    run_train: Train, mishap: Mishap, monkeypatch: pytest.MonkeyPatch
) -> None:
    mishap.at(6, SystemExit(9))
    run_train()
    mishap.undo()
    monkeypatch.setattr("torch.get_num_threads", lambda: 77)
    result = run_train("--resume")
    assert "and is 77: the weights may differ in bits" in result.output


def test_another_code_is_said_when_a_run_is_resumed(
    run_train: Train, mishap: Mishap, monkeypatch: pytest.MonkeyPatch
) -> None:
    mishap.at(6, SystemExit(9))
    run_train()
    mishap.undo()
    monkeypatch.setattr(course, "source_digest", lambda *_: "of another day")
    result = run_train("--resume")
    assert result.exit_code == 0
    assert "and is of another d: the weights may differ in bits" in result.output


def test_a_loss_that_is_not_a_number_keeps_the_last_good_state(
    run_train: Train, out: Path, mishap: Mishap
) -> None:
    mishap.at(6, descent.DivergedError("the loss is nan"))
    result = run_train()
    assert result.exit_code == 2
    assert "Error: the loss is nan" in result.output
    assert _kept(out) == ["checkpoint-00000004"]


def test_a_killed_process_leaves_a_state_and_no_lock(recipe: Path, out: Path) -> None:
    recipe.write_text(recipe.read_text().replace("steps: 12", "steps: 100000"))
    arguments = [sys.executable, "-m", "pytest_circuits", "train", str(recipe), "--out", str(out)]
    process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not _kept(out) and time.monotonic() < deadline:
        time.sleep(0.05)
    second = CliRunner().invoke(main, ["train", str(recipe), "--out", str(out), "--resume"])
    assert second.exit_code == 4
    assert f"another run is training here: pid {process.pid}" in second.output
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed = subprocess.Popen([*arguments, "--resume"], stderr=subprocess.PIPE, text=True)
    assert resumed.stderr is not None
    assert any("going on after step" in line for line in resumed.stderr)
    resumed.send_signal(signal.SIGTERM)
    resumed.communicate(timeout=120)
    assert resumed.returncode in {75, -signal.SIGTERM}  # saved, or not yet in the loop
