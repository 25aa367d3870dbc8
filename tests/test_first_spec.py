"""`pytest-circuits init`: from two prompts with answers to a specification that works."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from pytest_circuits.cli import main
from pytest_circuits.first_spec import Asked, name_of
from pytest_circuits.prompts.space import PromptSpace
from pytest_circuits.spec.load import load_spec
from tests.known_models import write_quote_copier

QUOTES = ("x = 'alpha", "'", 'x = "alpha', '"')
SPEC = Path("circuits/quote.circuit.yaml")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_quote_copier(tmp_path / "model")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.mark.usefixtures("folder")
def test_what_is_written_loads_plans_and_prunes() -> None:
    result = run("init", "model", *QUOTES, "--name=quote")

    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == f"written: {SPEC}"
    assert lines[1].startswith("""after "x = 'alpha" the model prefers "'" over '"' by """)
    spec = load_spec(SPEC).spec
    assert spec.model == "../model"
    assert spec.claims.behaves
    assert spec.claims.sufficient
    assert spec.claims.necessary
    pairs = [pair for pair, _ in PromptSpace(spec.behavior).enumerate()]
    assert {pairs[0].first.text, pairs[0].second.text} == {QUOTES[0], QUOTES[2]}
    assert len(pairs) > 1
    assert run("plan", str(SPEC)).exit_code == 0
    found = run("prune", str(SPEC), "--no-controls", "--steps=60")
    assert found.exit_code == 0, found.output
    assert load_spec(SPEC).spec.nodes


@pytest.mark.usefixtures("folder")
def test_an_answer_of_several_tokens_is_refused_with_some_of_one() -> None:
    result = run("init", "model", "x = 'alpha", "'", 'x = "alpha', " Alpha")

    assert result.exit_code == 4
    assert "the answer ' Alpha' is not one token after" in result.stderr
    assert "choose an answer that is one token there, such as " in result.stderr
    assert not Path("circuits").exists()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("given_texts", "said"),
    [
        (("x = 'a", "'", "x = 'a", '"'), "the two prompts are the same"),
        (("x = 'a", "'", 'x = "a', "'"), 'both answers are "\'"; change the cue'),
        (("", "'", 'x = "a', '"'), "a prompt or an answer is empty"),
        (("x = 'a", "'", 'x = "a', '"', "--out=x.yaml"), "specifications end in .circuit.yaml"),
    ],
)
def test_what_makes_no_behavior_is_refused_in_words(
    given_texts: tuple[str, ...], said: str
) -> None:
    result = run("init", "model", *given_texts)

    assert result.exit_code == 4
    assert said in result.stderr


@pytest.mark.usefixtures("folder")
def test_nothing_is_overwritten() -> None:
    SPEC.parent.mkdir()
    SPEC.write_text("mine")

    result = run("init", "model", *QUOTES, "--name=quote")

    assert result.exit_code == 4
    assert "is there already" in result.stderr
    assert SPEC.read_text() == "mine"


@pytest.mark.usefixtures("folder")
def test_a_model_that_is_wrong_is_told() -> None:
    result = run("init", "model", "x = 'alpha", '"', 'x = "alpha', "'", "--name=quote")

    assert result.exit_code == 0
    assert "it is wrong there, so that there is no circuit to find" in result.output
    assert "no word was found to vary" in result.output
    assert "# One pair of prompts is little" in SPEC.read_text()
    load_spec(SPEC)


@given(st.text("ab ='{}\n", min_size=1), st.text("ab ='{}\n", min_size=1))
def test_the_parts_of_two_prompts_make_them_again(first: str, second: str) -> None:
    before, cues, after = Asked((first, second), ("x", "y")).parts

    assert tuple(f"{before}{cue}{after}" for cue in cues) == (first, second)


@pytest.mark.parametrize(
    ("first", "second", "cues"),
    [
        ("for item", "while item", ("for", "while")),
        ("x = 'a", 'x = "a', ("'", '"')),
        ("print(format", "print(former", ("format", "former")),
        ("the cats run", "the cat run", ("cats", "cat")),
    ],
)
def test_a_cue_is_whole_words(first: str, second: str, cues: tuple[str, str]) -> None:
    asked = Asked((first, second), (" in", ":"))

    assert asked.parts[1] == cues
    assert name_of(asked).replace("_", "").isalnum()


@pytest.mark.usefixtures("folder")
def test_a_folder_that_cannot_be_made_is_told() -> None:
    SPEC.parent.write_text("a file")

    result = run("init", "model", *QUOTES, "--name=quote")

    assert result.exit_code == 4
    assert "circuits: cannot be made" in result.stderr
