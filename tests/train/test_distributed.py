"""Several processes: the same configuration gives the same model, to float tolerance."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from pytest_circuits.errors import UsageError
from pytest_circuits.model.sparse.directory import load_sparse_model
from pytest_circuits.train.distributed import World
from tests.train.conftest import Train
from tests.warm import POSSIBLE, WarmPython

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node")
Several = Callable[..., subprocess.CompletedProcess[str]]
SEVERAL = (sys.executable, str(Path(__file__).with_name("several.py")))


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )


@pytest.fixture(scope="module")
def several() -> Iterator[Several]:
    """Runs `several.py`, as a copy of a process that has loaded what it loads."""
    warm = WarmPython(("torch._dynamo", "torch.distributed.fsdp", "pytest_circuits.train.job"))
    env = os.environ | {"OMP_NUM_THREADS": "1"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return warm.run([*SEVERAL, *arguments], env=env, timeout=180)

    yield run if POSSIBLE else partial(_run, *SEVERAL)
    warm.close()


def _train(recipe: Path, out: Path, *options: str) -> list[str]:
    return ["train", str(recipe), "--out", str(out), *options]


def _in(processes: int, command: list[str], *, stop_after: int = -1) -> list[str]:
    return [str(processes), str(stop_after), *command]


@pytest.mark.parametrize("how", ["ddp", "fsdp"])
def test_two_processes_make_the_model_that_one_makes(
    run_train: Train, recipe: Path, out: Path, several: Several, how: str
) -> None:
    assert run_train(parallel=how).exit_code == 0
    train = _train(recipe, other := out.with_name("other"))
    if how == "ddp":
        done = _run(*TORCHRUN, "2", "-m", "pytest_circuits", *train)
    else:
        done = several(*_in(2, train))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("nonzero weights, held-out loss") == 1
    one, two = (load_sparse_model(path).module.state_dict() for path in (out, other))
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-5, msg=name)
        assert torch.equal(one[name] == 0, two[name] == 0)


def test_a_run_of_one_process_is_resumed_by_two(
    run_train: Train, recipe: Path, out: Path, tmp_path: Path, several: Several
) -> None:
    assert run_train().exit_code == 0
    first = load_sparse_model(out).module.state_dict()
    train = _train(recipe, half := tmp_path / "half")
    done = several(*_in(1, train, stop_after=6), "then", *_in(2, [*train, "--resume"]))
    assert done.returncode == 0, done.stderr
    assert "going on after step 4" in done.stderr
    second = load_sparse_model(half).module.state_dict()
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-4, atol=1e-5, msg=name)


def test_several_processes_are_resumed_to_the_same_weights(
    recipe: Path, out: Path, tmp_path: Path, several: Several
) -> None:
    """With three, the order in which gradients are added up shows; with two it cannot."""
    recipe.write_text(recipe.read_text().replace("batch: 4", "batch: 6"))
    train = _train(recipe, resumed := tmp_path / "resumed")
    done = several(
        *(*_in(3, _train(recipe, out)), "then"),
        *(*_in(3, train, stop_after=6), "then", *_in(3, [*train, "--resume"])),
    )
    assert done.returncode == 0, done.stderr
    assert "going on after step 4" in done.stderr
    first, second = (load_sparse_model(path).module.state_dict() for path in (out, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_one_process_cannot_do_is_said_once(recipe: Path, out: Path, several: Several) -> None:
    recipe.write_text(recipe.read_text().replace("{library: {modules: 12}}", "{jsonl: {path: no}}"))
    done = several(*_in(2, _train(recipe, out)))
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
