"""Workflow commands under GitHub Actions: at the line that is wrong, and nothing but that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_circuits.gate.outputs import folder_in_repository
from pytest_circuits.report.annotations import workflow_commands
from pytest_circuits.report.run import Refusal, Run, State
from pytest_circuits.report.safe_text import clean_block, wrapped
from tests.plugin.conftest import Repository
from tests.plugin.hostile import HOSTILE, NAME, many_failing
from tests.plugin.test_summary import GOOD, NECESSARY, with_verdict

ESCAPES = {"%0A": "\n", "%0D": "\r", "%3A": ":", "%2C": ",", "%25": "%"}


def unescaped(text: str) -> str:
    """What the runner of GitHub makes of an escaped text; it replaces `%25` last."""
    for code, character in ESCAPES.items():
        text = text.replace(code, character)
    return text


def understood(line: str) -> tuple[str, dict[str, str], str]:
    """Command, properties and message of a line, read as the runner reads it."""
    head, _, message = line.removeprefix("::").partition("::")
    command, _, listed = head.partition(" ")
    named = dict(pair.split("=", 1) for pair in listed.split(",") if pair)
    return command, {name: unescaped(value) for name, value in named.items()}, unescaped(message)


def commands_of(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if line.lstrip().startswith("::")]


def test_a_claim_that_fails_is_marked_at_its_line(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    path = repository.write_bad_spec()
    line = path.read_text().splitlines().index("  sufficient: {rate: 0.95, max_loss: 0.15}") + 1

    result = repository.gate()

    (printed,) = commands_of(result)
    command, properties, message = understood(printed)
    assert (command, properties) == (
        "error",
        {
            "file": "circuits/weak_path.circuit.yaml",
            "line": str(line),
            "col": "3",
            "title": "weak_path sufficient: fail",
        },
    )
    said = message.splitlines()
    assert said[0].startswith("the circuit alone prefers the answer on 50.0 % of all 32 prompts")
    assert said[1].startswith("prompt: 'x = ")
    assert said[2].startswith("reproduce: pytest --circuits circuits/weak_path.circuit.yaml::")


def test_a_refused_specification_is_marked_where_it_is_wrong(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    repository.write("circuits/bad.circuit.yaml", "version: 1\n::add-mask::x: 1\n")

    result = repository.gate()

    assert result.ret == 2
    found = [understood(line) for line in commands_of(result)]
    assert {command for command, _, _ in found} == {"error"}
    assert {properties["file"] for _, properties, _ in found} == {"circuits/bad.circuit.yaml"}
    (unknown,) = [properties for _, properties, text in found if text.startswith("unknown key")]
    assert (unknown["line"], unknown["col"]) == ("2", "1")


def test_elsewhere_and_when_they_are_switched_off_there_are_none(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.write("circuits/bad.circuit.yaml", "version: 2\n")

    elsewhere = repository.gate()
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    repository.write("pytest.ini", "[pytest]\ncircuits_annotations = false\n")
    switched_off = repository.gate()

    assert (elsewhere.ret, switched_off.ret) == (2, 2)
    assert commands_of(elsewhere) + commands_of(switched_off) == []


def test_names_cannot_end_a_command_or_begin_one() -> None:
    lines = workflow_commands(HOSTILE)

    found = [understood(line) for line in lines]
    assert all(len(line.splitlines()) == 1 for line in lines)
    assert [command for command, _, _ in found] == ["error"] * 3
    assert found[0][1]["file"] == "circuits/a,b:c.circuit.yaml"
    assert found[1][1]["title"] == f"{NAME} sufficient: fail"
    assert set(found[1][1]) == {"file", "line", "col", "title"}


@given(name=st.text(), text=st.text())
def test_any_name_and_text_are_understood_as_they_are(name: str, text: str) -> None:
    run = Run((), (), refused=(name,), refusals=(Refusal(name, 1, 2, text),))

    (line,) = workflow_commands(run)

    assert len(line.split("\n")) == len(line.split("\r")) == 1
    command, properties, message = understood(line)
    assert (command, message) == ("error", text)
    assert (properties["file"], properties["col"]) == (run.in_repository(name), "2")


def test_of_many_errors_ten_are_printed_and_the_last_counts_the_rest() -> None:
    lines = workflow_commands(many_failing(30))

    assert len(lines) == 10
    assert lines[-1] == "::error title=circuits::and 21 more, in the log"


def test_a_run_that_passes_and_one_that_records_have_none() -> None:
    waiting = with_verdict(NECESSARY, NECESSARY.verdict, State.RECORDED)

    assert workflow_commands(GOOD) == []
    assert workflow_commands(replace(GOOD, results=(waiting,))) == []


def test_files_are_named_from_the_top_of_the_repository(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()

    run = replace(GOOD, root=folder_in_repository(tmp_path / "models" / "gate"))

    assert run.in_repository("circuits/x.circuit.yaml") == "models/gate/circuits/x.circuit.yaml"
    assert run.in_repository("../x.circuit.yaml") == "models/x.circuit.yaml"


@pytest.mark.parametrize("text", ["::error::x", "  ::stop-commands::x", "##[error]x"])
def test_no_line_of_what_is_printed_is_taken_for_a_command(text: str) -> None:
    printed = [*clean_block(f"a\n{text}").split("\n"), *wrapped(f"{'a' * 39} {text}", 40)]

    assert not [line for line in printed if line.lstrip().startswith(("::", "##["))]
