"""Without `--circuits` the plugin says nothing and loads nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_circuits import plugin
from tests.plugin.conftest import Repository

ROOT = Path(__file__).parents[2]
SAY_MODULES = """
import json, sys

def pytest_unconfigure():
    print("\\nMODULES", json.dumps(list(sys.modules)))
"""


def modules_of_a_run(folder: Path, plugin: str, *arguments: str) -> set[str]:
    """Modules that a run has loaded at its end, with one plugin beside pytest's own."""
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": path}
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-p", plugin, *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    line = next(x for x in finished.stdout.splitlines() if x.startswith("MODULES"))
    return set(json.loads(line.removeprefix("MODULES")))


def test_the_options_are_loaded_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(SAY_MODULES)
    (tmp_path / "nothing.py").touch()

    without, with_it = (
        modules_of_a_run(tmp_path, p) for p in ("nothing", "pytest_circuits.plugin")
    )

    ours = {"", ".gate", ".gate.settings", ".plugin", ".report", ".report.outputs"}
    assert with_it - without == {f"pytest_circuits{name}" for name in ours}


def test_an_ordinary_run_prints_nothing_about_circuits(repository: Repository) -> None:
    repository.write("tests/test_other.py", "def test_other(): pass\n")

    result = repository.run("tests", "-p", "no:hypothesispytest")

    assert result.ret == 0
    lines = [line for line in result.outlines if not line.startswith(("plugins:", "rootdir:"))]
    assert "circuit" not in "\n".join(lines)


def test_the_options_stand_under_one_heading_with_their_defaults(repository: Repository) -> None:
    result = repository.run("--help")

    result.stdout.fnmatch_lines(
        ["release gates on circuits (pytest-circuits):", "  --circuits *(default: off)"]
    )


@pytest.mark.parametrize(
    "option",
    [
        "--circuits-model=model",
        "--circuits-baseline=model",
        "--circuits-update=new",
        "--circuits-update-in-ci",
        "--circuits-report=out.json",
        "--circuits-markdown=out.md",
        "--circuits-metrics=out.json",
        "--circuits-model-card=README.md",
        "--circuits-sarif=out.sarif",
        "--circuits-predicate=out.json",
        "--circuits-device=cpu",
    ],
)
def test_an_option_without_the_gate_is_a_usage_error(repository: Repository, option: str) -> None:
    repository.write("tests/test_other.py", "def test_other(): pass\n")

    result = repository.run("tests", option)

    assert result.ret == 4
    name = option.partition("=")[0]
    result.stderr.fnmatch_lines([f"ERROR: {name} does nothing without --circuits; *"])


def test_settings_that_cannot_be_used_are_refused_before_anything_heavy_is_loaded(
    tmp_path: Path,
) -> None:
    (tmp_path / "conftest.py").write_text(SAY_MODULES)

    loaded = modules_of_a_run(
        tmp_path, "pytest_circuits.plugin", "--circuits", "--circuits-model=x"
    )

    assert "pytest_circuits.gate.stale_outputs" in loaded
    assert not loaded & {"torch", "hypothesis", "numpy", "pytest_circuits.gate.hooks"}


def test_an_error_before_any_settings_is_told_as_pytest_tells_it(repository: Repository) -> None:
    result = repository.pytester.runpytest_inprocess("--rootdir=absent", plugins=[plugin])

    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: Directory '*absent' not found. *"])
    assert "Traceback" not in result.stderr.str()
