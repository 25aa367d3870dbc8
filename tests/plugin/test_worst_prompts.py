"""Which prompts make a rate fail is said in every report, also where no law is broken."""

from __future__ import annotations

import json

import pytest

from tests.known_models import Weights, write_quote_copier
from tests.plugin.conftest import Repository, spec_text

WRONG = ["'x = \"beta'", "'x = \"gamma'"]  # of six prompts


@pytest.fixture
def reports(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What each report says of a model that is wrong on two prompts, by less than the margin."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    write_quote_copier(repository.path / "model", Weights(path=0.0, weak=0.0, bias=24.0))
    text = spec_text(claims=("behaves",)).replace("pairs: 100", "pairs: 100, margin: 50")
    text = text.replace("[x, name, value, user_id]", "[x]").replace("gamma, delta]", "gamma]")
    repository.write("circuits/quote_close.circuit.yaml", text)
    names = ("report", "markdown", "sarif")

    result = repository.gate(*(f"--circuits-{name}={name}" for name in names))

    assert result.ret == 1
    found = {name: (repository.path / name).read_text() for name in names}
    assert json.loads(found["report"])["circuits"][0]["claims"][0]["law"]["counterexample"] is None
    terminal, command = str(result.stdout).split("::error", 1)
    return {**found, "terminal": terminal, "annotation": command}


def test_the_record_holds_what_each_run_made_of_the_worst_prompts(reports: dict[str, str]) -> None:
    (circuit,) = json.loads(reports["report"])["circuits"]
    (claim,) = circuit["claims"]

    worst = claim["worst"]

    assert worst["where"] == "the whole model prefers the answer least"
    assert [repr(asked["prompt"]) for asked in worst["prompts"][:2]] == WRONG
    assert [asked["seen"][0]["margin"] < 0 for asked in worst["prompts"]] == [True, True, False]
    assert worst["prompts"][0]["seen"][0] == {
        "run": "whole model",
        "answer": pytest.approx(-0.972, abs=0.001),
        "foil": pytest.approx(0.515, abs=0.001),
        "margin": pytest.approx(-1.487, abs=0.001),
    }


@pytest.mark.parametrize("report", ["terminal", "markdown"])
def test_the_prompts_and_their_logits_are_a_table(reports: dict[str, str], report: str) -> None:
    lines = [line.strip() for line in reports[report].splitlines()]

    first = lines.index("worst     the prompts where the whole model prefers the answer least:")

    assert lines[first + 1].split() == ["answer", "foil", "margin"]
    assert lines[first + 2 : first + 5] == [
        f"{WRONG[0]}  (answer '\"', foil \"'\")",
        "whole model     -0.972     +0.515     -1.487",
        f"{WRONG[1]}  (answer '\"', foil \"'\")",
    ]


@pytest.mark.parametrize("report", ["sarif", "annotation"])
def test_where_there_is_one_message_each_prompt_is_a_line(
    reports: dict[str, str], report: str
) -> None:
    said = reports[report]
    if report == "sarif":
        said = json.loads(said)["runs"][0]["results"][0]["message"]["text"]

    lines = said.replace("%0A", "\n").splitlines()

    assert (
        f"worst 1: {WRONG[0]} (answer '\"', foil \"'\"): whole model -1.487 (-0.972 to +0.515)"
    ) in lines
    assert sum(line.startswith("worst ") for line in lines) == 3
