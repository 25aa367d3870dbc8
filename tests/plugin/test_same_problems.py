"""Whatever is wrong with a specification is said by every command, before it works, in one way."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import CliRunner

from pytest_circuits.cli import main
from tests.plugin.conftest import Repository, spec_text

SPEC = "circuits/quote_close.circuit.yaml"
MODEL = "model"
COMMANDS = {
    "plan": ["plan", SPEC],
    "show": ["show", SPEC],
    "diff": ["diff", MODEL, MODEL, SPEC],
    "prune": ["prune", SPEC],
    "prune, in a process": ["prune", SPEC, "--jobs", "1"],
    "prune, from what is there": ["prune", SPEC, "--start-from", "spec"],
}
Said = Callable[[str], str]


@pytest.fixture
def said(repository: Repository) -> Said:
    """What a command says of the specification in the repository, which it refuses."""

    def run(command: str) -> str:
        if command == "gate":
            result = repository.gate()
            assert result.ret == 2
            return str(result.stdout)
        ended = CliRunner().invoke(main, COMMANDS[command])
        assert ended.exit_code == 2, ended.output
        return ended.output

    return run


@pytest.mark.parametrize("command", ["gate", *COMMANDS])
def test_an_answer_of_several_tokens_is_shown_with_what_it_becomes(
    repository: Repository, said: Said, command: str
) -> None:
    path = repository.write(SPEC, spec_text().replace('"\'": "\'"', "\"'\": ' beta alpha'"))
    line = path.read_text().splitlines().index("      \"'\": ' beta alpha'") + 1

    text = said(command)

    assert f"{SPEC}:{line}:12: the answer ' beta alpha' is not one token after 'x = " in text
    assert "it becomes 2 tokens (' beta', ' alpha')" in text
    assert "choose an answer that is one token there, such as ' beta'" in text
    assert "      \"'\": ' beta alpha'\n" in text
    assert " ^^^^" in text


def test_a_behavior_that_is_compared_with_is_checked_before_the_claims_run(
    repository: Repository,
) -> None:
    more = "  specific: {others: [o], max_drop: 0.1}"
    text = spec_text().replace("protocol:", f"{more}\nprotocol:")
    repository.write(SPEC, text)
    broken = spec_text(name="o").replace('"\'": "\'"', "\"'\": ' beta alpha'")
    repository.write("circuits/o.circuit.yaml", broken)
    place = f"{SPEC}:{text.splitlines().index(more) + 1}:23"

    result = repository.gate(SPEC)

    assert result.ret == 2
    said = str(result.stdout)
    assert f"{place}: 'o' cannot be asked: circuits/o.circuit.yaml:11:12: the answer" in said
    assert "it becomes 2 tokens (' beta', ' alpha')" in said
