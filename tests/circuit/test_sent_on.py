"""What each token of a prompt sends on to later tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.sent_on import sent_on
from pytest_circuits.circuit.view import WHOLE
from pytest_circuits.model.open import load_model
from pytest_circuits.model.protocol import Kind
from pytest_circuits.model.reference_file import load_reference
from pytest_circuits.prompts.space import Prompt
from pytest_circuits.spec.ablations import Ablation
from tests.known_models import write_quote_copier


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    model = load_model(write_quote_copier(tmp_path / "model"))
    return Runner(model, load_reference(model), Ablation.MEAN)


@pytest.mark.parametrize(("quote", "other"), [("'", '"'), ('"', "'")])
def test_of_a_quote_copier_the_quote_sends_the_preference(
    runner: Runner, quote: str, other: str
) -> None:
    prompt = Prompt(f"x = {quote}alpha beta", quote, other)
    sent = sent_on(runner, prompt)
    assert sent is not None

    answer, foil = runner.logits(prompt, WHOLE)
    tokens = runner.tokens(prompt)
    by_token = dict(zip(tokens, sent, strict=True))
    opening = by_token.pop(f" {quote}")
    assert opening > 0.5 * (answer - foil) > 0
    assert max(map(abs, by_token.values())) < 0.3 * opening


def test_a_wrong_answer_is_sent_against(runner: Runner) -> None:
    right = sent_on(runner, Prompt("x = 'alpha", "'", '"'))
    wrong = sent_on(runner, Prompt("x = 'alpha", '"', "'"))
    assert right is not None
    assert wrong is not None
    assert wrong == pytest.approx(-right, abs=1e-5)


def test_of_a_model_that_hides_keys_and_of_long_prompts_nothing_is_known(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sent_on(runner, Prompt("x = 'alpha", "'", '"')) is not None
    monkeypatch.setattr("pytest_circuits.circuit.sent_on.MOST", 3)
    assert sent_on(runner, Prompt("x = 'alpha", "'", '"')) is None
    monkeypatch.undo()
    shown = {name: site for name, site in runner.model.sites.items() if site.kind is not Kind.KEY}
    monkeypatch.setitem(vars(runner.model), "sites", shown)
    assert sent_on(runner, Prompt("x = 'alpha", "'", '"')) is None
