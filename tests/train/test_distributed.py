"""Several processes: the same configuration gives the same model, to float tolerance."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from pytest_circuits.errors import UsageError
from pytest_circuits.model import load_model
from pytest_circuits.train.distributed import World

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.train.conftest import Train

Done = subprocess.CompletedProcess[str]
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node")
SEVERAL = (sys.executable, str(Path(__file__).with_name("several.py")))
STOPPED = 9  # exit status of a process that ends before step 7
ALONE = f"""
import os, sys
from pytest_circuits.cli import main
from pytest_circuits.train.loop import Trainer
step = Trainer.step
Trainer.step = lambda self, *a, **k: os._exit({STOPPED}) if self.done == 6 else step(self, *a, **k)
main(["train", sys.argv[1], "--out", sys.argv[2]])
"""


def _train(command: Sequence[str], recipe: Path, out: Path, *options: str) -> Done:
    return subprocess.run(
        [*command, "train", str(recipe), "--out", str(out), *options],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )


def _torchrun(recipe: Path, out: Path) -> Done:
    return _train([*TORCHRUN, "2", "-m", "pytest_circuits"], recipe, out)


def _several(
    recipe: Path, out: Path, *options: str, processes: int = 2, stop_after: int = -1
) -> Done:
    return _train([*SEVERAL, str(processes), str(stop_after)], recipe, out, *options)


@pytest.mark.parametrize("how", ["ddp", "fsdp"])
def test_two_processes_make_the_model_that_one_makes(
    run_train: Train, recipe: Path, out: Path, tmp_path: Path, how: str
) -> None:
    assert run_train(parallel=how).exit_code == 0
    other = tmp_path / "other"
    done = _torchrun(recipe, other) if how == "ddp" else _several(recipe, other)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("nonzero weights, held-out loss") == 1
    one, two = (load_model(path).module.state_dict() for path in (out, other))
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-5, msg=name)
        assert torch.equal(one[name] == 0, two[name] == 0)


def test_a_run_of_one_process_is_resumed_by_two(
    run_train: Train, recipe: Path, out: Path, tmp_path: Path
) -> None:
    assert run_train().exit_code == 0
    first = load_model(out).module.state_dict()
    half = tmp_path / "half"
    command = [sys.executable, "-c", ALONE, str(recipe), str(half)]
    assert subprocess.run(command, check=False, timeout=120).returncode == STOPPED
    done = _several(recipe, half, "--resume")
    assert done.returncode == 0, done.stderr
    assert "going on after step 4" in done.stderr
    second = load_model(half).module.state_dict()
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-4, atol=1e-5, msg=name)


def test_several_processes_are_resumed_to_the_same_weights(
    recipe: Path, out: Path, tmp_path: Path
) -> None:
    """With three, the order in which gradients are added up shows; with two it cannot."""
    recipe.write_text(recipe.read_text().replace("batch: 4", "batch: 6"))
    assert _several(recipe, out, processes=3).returncode == 0
    resumed = tmp_path / "resumed"
    assert _several(recipe, resumed, processes=3, stop_after=6).returncode != 0
    done = _several(recipe, resumed, "--resume", processes=3)
    assert "going on after step 4" in done.stderr
    first, second = (load_model(path).module.state_dict() for path in (out, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_one_process_cannot_do_is_said_once(recipe: Path, out: Path) -> None:
    recipe.write_text(
        recipe.read_text().replace("{generated: {documents: 40}}", "{jsonl: {path: no}}")
    )
    done = _several(recipe, out)
    assert done.returncode == 1
    assert done.stderr.count("cannot be read") == 1
    assert "Connection closed" not in done.stderr


def test_rows_that_cannot_be_shared_evenly_are_refused() -> None:
    world = World(torch.device("cpu"), rank=0, size=3)
    with pytest.raises(UsageError, match="batch 32 cannot be shared by 3 processes"):
        world.check(32)


def test_every_row_is_worked_on_once() -> None:
    rows = torch.arange(12).view(6, 2)
    parts = [World(torch.device("cpu"), rank=rank, size=3).share(rows) for rank in range(3)]
    assert torch.equal(torch.cat(parts), rows)
