"""`pytest-circuits`: commands are listed without being loaded, and errors are text."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

import pytest_circuits
from pytest_circuits import cli
from pytest_circuits.spec.schema import json_schema


def test_the_schema_is_printed() -> None:
    result = CliRunner().invoke(cli.main, ["schema"])

    assert result.exit_code == 0
    assert json.loads(result.output) == json_schema()


def test_the_version_is_printed() -> None:
    result = CliRunner().invoke(cli.main, ["--version"])

    assert result.output == f"pytest-circuits, version {pytest_circuits.__version__}\n"


def test_help_lists_every_command() -> None:
    result = CliRunner().invoke(cli.main, ["--help"])

    assert result.exit_code == 0
    assert all(f"  {name} " in result.output for name in cli.COMMANDS)


def test_help_loads_no_command() -> None:
    say = "import sys; from pytest_circuits.cli import main\ntry: main(['--help'])\n"
    code = f"{say}finally: print('torch' in sys.modules, 'yaml' in sys.modules)"

    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert finished.stdout.splitlines()[-1] == "False False"


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_exists(name: str) -> None:
    result = CliRunner().invoke(cli.main, [name, "--help"])

    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: main {name}")


def test_a_mistake_of_the_user_is_text_with_status_2() -> None:
    result = CliRunner().invoke(cli.main, ["prune", "absent.circuit.yaml"])

    assert result.exit_code == 2
    assert result.output.startswith("Error: absent.circuit.yaml")
    assert isinstance(result.exception, SystemExit)


def test_an_unknown_command_is_refused() -> None:
    result = CliRunner().invoke(cli.main, ["prun"])

    assert result.exit_code == 4
    assert "No such command 'prun'" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["prune"],
        ["prune", "x.circuit.yaml", "--steps", "0"],
        ["prune", "x.circuit.yaml", "--seed", "-1"],
    ],
)
def test_a_misused_command_is_text_with_status_4(arguments: list[str]) -> None:
    result = CliRunner().invoke(cli.main, arguments)

    assert result.exit_code == 4
    assert "Error: " in result.output
    assert "Traceback" not in result.output
