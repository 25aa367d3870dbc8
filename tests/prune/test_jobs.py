"""Specifications as jobs: processes of this machine, or of a cluster."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest
from click.testing import CliRunner, Result

from pytest_circuits.cli import main
from pytest_circuits.prune import jobs
from pytest_circuits.prune.cluster import Job
from pytest_circuits.prune.run import perform
from tests.known_models import quote_copier
from tests.prune.conftest import request_for

ROOT = Path(__file__).parent.parent.parent
STUB = "tests.prune.stub_worker"
PARENT = f"""\
from pytest_circuits.cli import main
from pytest_circuits.prune import jobs
jobs._WORKER = "{STUB}"
main()
"""
QUICK = ("--method", "attribution", "--no-controls", "--no-edges")


@pytest.fixture
def specs(tmp_path: Path) -> Callable[..., list[str]]:
    """Write specifications of few prompts, of one model."""

    def write(*names: str) -> list[str]:
        answer = quote_copier(0)
        answer.write(tmp_path / "model")
        text = re.sub(r"from: .*count: .*", "from: [alpha], count: [10, 11]}}", answer.spec)
        paths = [tmp_path / f"{name}.circuit.yaml" for name in names]
        for path, name in zip(paths, names, strict=True):
            path.write_text(text.replace("circuit: quote_close", f"circuit: {name}"))
        return list(map(str, paths))

    return write


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every job be one whose search is made up."""
    monkeypatch.setattr(jobs, "_WORKER", STUB)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def _prune(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["prune", *arguments])


@pytest.mark.usefixtures("stub")
def test_what_jobs_say_comes_in_whole_lines_and_results_in_the_order_of_the_specs(
    specs: Callable[..., list[str]],
) -> None:
    result = _prune(*specs("a", "b", "c"), "--jobs", "2", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert result.stdout == "".join(f"{name}: result on cpu\n" for name in "abc")
    lines = result.stderr.splitlines()
    for name in "abc":
        assert lines.count(f"{name}: half a line, the other half") == 3
        assert f"{name}: found" in lines
    assert len(lines) == 3 * 4 + 1
    assert lines[-1].startswith("jobs: 3/3")


@pytest.mark.usefixtures("stub")
def test_a_job_that_dies_or_fails_loses_no_other_and_the_worst_status_counts(
    specs: Callable[..., list[str]], tmp_path: Path
) -> None:
    result = _prune(*specs("killed", "broken", "vain", "a"), "--jobs", "2")
    assert result.exit_code == 70
    assert "killed: its process was ended by SIGKILL; what it had found is kept" in result.stderr
    assert "broken: RuntimeError: a bug" in result.stderr
    assert "vain: no circuit found" in result.stderr
    assert "a: result" in result.stdout
    assert jobs.worst([0, 75, 1]) == 75
    assert jobs.worst([0, 4, 75, 2]) == 4
    assert jobs.worst([1, 0]) == 1
    assert not (tmp_path / ".prune").exists()  # these jobs wrote nothing there


@pytest.mark.usefixtures("stub")
def test_several_devices_are_used_in_turn_each_by_one_job_at_a_time(
    specs: Callable[..., list[str]],
) -> None:
    result = _prune(*specs("a", "b"), "--device", "cuda:0,cuda:1")
    assert result.exit_code == 0
    assert {line.split()[-1] for line in result.stdout.splitlines()} == {"cuda:0", "cuda:1"}


@pytest.mark.usefixtures("stub")
def test_a_signal_ends_all_jobs(specs: Callable[..., list[str]], tmp_path: Path) -> None:
    paths = specs("a", "endless")
    noted = tmp_path / "endless.circuit.pid"

    def ask() -> None:
        _wait_for(noted)
        os.kill(os.getpid(), signal.SIGTERM)

    asking = Thread(target=ask)
    asking.start()
    result = _prune(*paths, "--jobs", "2")
    asking.join()
    assert result.exit_code == 75
    assert "stopped by SIGTERM" in result.stderr
    assert "run the same command again" in result.stderr
    assert "ended by" not in result.stderr
    assert _is_gone(int(noted.read_text()))


@pytest.mark.usefixtures("stub")
def test_a_job_does_not_outlive_a_command_that_is_killed(
    specs: Callable[..., list[str]], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", PARENT, "prune", *specs("endless"), "--jobs", "1"]
    noted = tmp_path / "endless.circuit.pid"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        _wait_for(noted)
        process.kill()
    assert _is_gone(int(noted.read_text()))


@pytest.mark.parametrize("how", [["--jobs", "2"], ["--cluster", "local"]], ids=" ".join)
def test_a_job_comes_to_the_bytes_that_it_comes_to_in_this_process(
    specs: Callable[..., list[str]], tmp_path: Path, how: list[str]
) -> None:
    if "--cluster" in how:
        pytest.importorskip("submitit")
    (path,) = map(Path, specs("a"))
    before = path.read_text()
    result = _prune(str(path), *QUICK, *how)
    assert result.exit_code == 0, result.output
    assert "a: found" in result.stderr
    assert result.stdout.startswith(f"{path}: ")
    assert not (tmp_path / ".prune").exists()
    found = path.read_text()
    path.write_text(before)
    assert perform(request_for(path)) == 0
    assert path.read_text() == found != before


def test_a_job_that_is_preempted_is_queued_again(tmp_path: Path) -> None:
    submitit = pytest.importorskip("submitit")
    job = Job(request_for(tmp_path / "a.circuit.yaml"))
    again = job.checkpoint()
    assert isinstance(again, submitit.helpers.DelayedSubmission)
    assert again.function == job


def test_without_submitit_it_is_said_how_to_install_it(
    specs: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    result = _prune(*specs("a"), "--cluster", "slurm")
    assert result.exit_code == 4
    assert "pip install 'pytest-circuits[slurm]'" in result.output


def test_a_machine_without_slurm_is_said_to_have_none(
    specs: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", "")
    result = _prune(*specs("a"), "--cluster", "slurm")
    assert result.exit_code == 4
    assert "--cluster slurm: " in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--partition", "gpu"], "--partition is for jobs of a cluster; say --cluster slurm too"),
        (["--gpus", "0"], "--gpus is for jobs of a cluster"),
        (["--cluster", "local", "--device", "cuda:0,cuda:1"], "name one --device"),
        (["--start-from", "greedy", "--method", "attribution"], "--start-from is about masks"),
        (["--start-from", "spec"], "a.circuit.yaml: has no nodes that a search could start from"),
    ],
)
def test_wishes_that_do_not_go_together_are_refused(
    specs: Callable[..., list[str]], arguments: list[str], message: str
) -> None:
    result = _prune(*specs("a"), *arguments)
    assert result.exit_code == 4
    assert message in result.output


def test_a_specification_that_is_named_twice_is_refused(specs: Callable[..., list[str]]) -> None:
    result = _prune(*2 * specs("a"))
    assert result.exit_code == 4
    assert "is named twice" in result.output


def _wait_for(path: Path) -> None:
    while not (path.exists() and path.read_text()):
        time.sleep(0.02)


def _is_gone(pid: int) -> bool:
    """Whether a process ends within seconds."""
    for _ in range(500):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False
