"""An output that another distribution brings, by the entry points `pytest_circuits.outputs`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_circuits.report.outputs import offered
from tests.plugin.conftest import Repository

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODULE = README.split("```python\n")[1].split("```")[0]  # the example that is shown
MODULE += """
BROKEN = Output("fail", "circuits_csv:fail", b"circuit,claim,verdict")
NONE = 7


def fail(run, target):
    raise ZeroDivisionError("a mistake")
"""
ENTRIES = """
[pytest_circuits.outputs]
csv = circuits_csv:CSV
broken-csv = circuits_csv:BROKEN
absent = circuits_absent:CSV
none = circuits_csv:NONE
model = circuits_csv:CSV
Bad Name = circuits_csv:CSV
"""
WRITTEN = "circuit,claim,verdict\nquote_close,behaves,pass\n"


@pytest.fixture
def others(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    """A repository with a specification, where another distribution is installed."""
    repository.write_good_spec(claims=("behaves",))
    repository.write("site/circuits_csv.py", MODULE)
    about = "site/circuits_csv-1.0.dist-info"
    repository.write(f"{about}/METADATA", "Metadata-Version: 2.1\nName: circuits-csv\nVersion: 1\n")
    repository.write(f"{about}/entry_points.txt", ENTRIES)
    site = repository.path / "site"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(ROOT)]))
    monkeypatch.syspath_prepend(site)
    offered.cache_clear()
    yield repository
    offered.cache_clear()


def test_it_is_written_by_its_option_and_again_from_the_evidence(others: Repository) -> None:
    options = ("--circuits", "--circuits-csv", "out.csv", "--circuits-report=out.json")
    result = others.pytester.runpytest_subprocess(*options)

    assert result.ret == 0
    result.stdout.fnmatch_lines(["evidence: out.json", "csv: out.csv"])
    assert (others.path / "out.csv").read_text() == WRITTEN
    command = [sys.executable, "-m", "pytest_circuits", "report", "out.json", "--csv", "again.csv"]
    done = subprocess.run(command, cwd=others.path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "csv: again.csv\n", "")
    assert (others.path / "again.csv").read_text() == WRITTEN


def test_it_has_an_ini_twin_and_what_an_earlier_run_left_is_removed(others: Repository) -> None:
    others.write("pytest.ini", "[pytest]\ncircuits_csv = out/out.csv\n")

    first = others.gate()

    assert first.ret == 0
    assert (others.path / "out/out.csv").read_text() == WRITTEN
    refused = others.gate("--circuits-model=absent")
    assert refused.ret == 4
    assert not (others.path / "out/out.csv").exists()


def test_the_help_names_its_distribution_and_nothing_takes_an_option_away(
    others: Repository,
) -> None:
    result = others.run("--help")

    assert result.ret == 0
    text = " ".join(result.stdout.str().split())
    assert "--circuits-csv=FILE write the output csv to FILE, by circuits-csv" in text
    assert "--circuits-model=DIR candidate model to test" in text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("absent", "the output absent (circuits_absent:CSV) cannot be loaded: No module named *"),
        ("none", "the output none: circuits_csv:NONE is not a pytest_circuits Output"),
    ],
)
def test_one_that_cannot_be_used_is_a_usage_error_where_it_is_asked_for(
    others: Repository, name: str, said: str
) -> None:
    asked, unasked = others.gate(f"--circuits-{name}=x"), others.gate()

    assert (asked.ret, unasked.ret) == (4, 0)
    asked.stderr.fnmatch_lines([f"ERROR: {said}"])


def test_one_that_fails_turns_the_gate_red_and_the_evidence_tells_of_it(others: Repository) -> None:
    result = others.gate("--circuits-broken-csv=x", "--circuits-report=out.json")

    assert result.ret == 1
    said = "x: cannot be made: circuits_csv:fail: ZeroDivisionError: a mistake"
    result.stdout.fnmatch_lines([said])
    assert said in (others.path / "out.json").read_text()


def test_an_ordinary_run_loads_none(others: Repository) -> None:
    others.write("test_it.py", "import sys\ndef test(): assert 'circuits_csv' not in sys.modules")

    assert others.run("test_it.py").ret == 0
