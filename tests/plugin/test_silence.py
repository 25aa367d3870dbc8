"""Without `--circuits` the plugin says nothing, loads nothing and costs next to nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Repository

HEAVY = ("click", "hypothesis", "numpy", "pydantic", "rich", "scipy", "tokenizers", "torch", "yaml")
SAY_MODULES = """
import json, sys

def pytest_unconfigure():
    print("\\nMODULES", json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
    print("\\nOURS", json.dumps(sorted(n for n in sys.modules if n.startswith("pytest_circuits"))))
"""


def loaded_modules(folder: Path, label: str) -> set[str]:
    """Modules that an ordinary run has loaded at its end, with this plugin as the only one."""
    (folder / "conftest.py").write_text(SAY_MODULES)
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-p", "pytest_circuits.plugin"],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    line = next(x for x in finished.stdout.splitlines() if x.startswith(label))
    return set(json.loads(line.removeprefix(label)))


def test_nothing_heavy_is_loaded(tmp_path: Path) -> None:
    assert loaded_modules(tmp_path, "MODULES").isdisjoint(HEAVY)


def test_only_the_options_are_loaded(tmp_path: Path) -> None:
    ours = {"", ".gate", ".gate.settings", ".plugin"}

    assert loaded_modules(tmp_path, "OURS") == {f"pytest_circuits{name}" for name in ours}


def test_the_unused_plugin_adds_less_than_30_ms_of_cpu() -> None:
    benchmark = Path(__file__).parents[1] / "benchmarks/startup.py"

    printed = subprocess.run(
        [sys.executable, str(benchmark), "--pairs=5"], capture_output=True, text=True, check=True
    ).stdout

    assert float(printed.rpartition("startup_cpu_ms: ")[2]) < 30


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
