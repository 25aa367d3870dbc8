"""`pytest-circuits frontier`: models of known circuits, and one that is trained and has none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pytest_circuits.cli import main
from pytest_circuits.frontier.sweep import Sweep
from pytest_circuits.spec.load import load_spec
from tests.known_models import QUOTE_PATH, quote_spec, write_quote_copier

CONFIG = """
specs: [q.circuit.yaml]
text: [text.py]
models:
  one: {model: one}
  young: {train: young.train.yaml}
prune: {steps: 150}
"""
TRAINED = """
preset: tiny
steps: 2
shape: {max_tokens: 64}
data: {tokenizer: {vocab_size: 300}, sources: [{folder: {path: text}}]}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep: a quote copier, and a model that is to be trained."""
    top = tmp_path_factory.mktemp("sweep")
    write_quote_copier(top / "one")
    lines = "".join(f"x = 'alpha beta {i}'\nname = \"gamma {i}\"\n" for i in range(600))
    (top / "text").mkdir()
    for name in "abc":
        (top / "text" / f"{name}.py").write_text(lines, encoding="utf-8")
    (top / "text.py").write_text(lines, encoding="utf-8")
    text = quote_spec({}, claims=("behaves", "sufficient", "necessary"), model="one")
    (top / "q.circuit.yaml").write_text(text, encoding="utf-8")
    (top / "young.train.yaml").write_text(TRAINED, encoding="utf-8")
    (top / "frontier.yaml").write_text(CONFIG, encoding="utf-8")
    return top


def run(folder: Path, *, out: str = "out", config: str = "frontier.yaml") -> Result:
    return CliRunner().invoke(main, ["frontier", str(folder / config), "--out", str(folder / out)])


def test_models_are_compared_by_loss_and_circuits_and_nothing_is_done_twice(folder: Path) -> None:
    result = run(folder)

    assert result.exit_code == 0, result.output
    one, young = json.loads((folder / "out" / "frontier.json").read_text())["models"]
    path = sum(map(len, QUOTE_PATH.values()))
    assert 4 <= one["sizes"][0]["nodes"] <= path
    circuit = load_spec(folder / "out" / "circuits" / "one" / "quote_close.circuit.yaml").spec
    assert sum(map(len, circuit.nodes.values())) == one["sizes"][0]["nodes"]
    assert young["sizes"][0]["nodes"] is None
    assert "the whole model prefers the answer" in young["sizes"][0]["why"]
    assert young["weights"] > 0
    assert 0 < young["bits_per_byte"] < young["nats_per_token"] / 0.69
    table = (folder / "out" / "frontier.md").read_text()
    assert "| young | " in table
    assert "| 0 of 1 | none |" in table
    assert "- young, quote_close: " in table
    picture = (folder / "out" / "frontier.svg").read_text()
    assert "one (1 of 1)" in picture
    assert "young" not in picture, "it has no circuit whose size could be drawn"

    again = run(folder)

    assert again.exit_code == 0, again.output
    assert "pytest-circuits prune" in result.output
    assert "pytest-circuits prune" not in again.output
    assert (folder / "out" / "frontier.svg").read_text() == picture


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("model: one}", "model: one, train: young.train.yaml}"), "frontier.yaml:5:8: "),
        (("{model: one}", "{}"), "name a `model` that is there, or what to `train` one by"),
        (("model: one}", "modle: one}"), "did you mean 'model'?"),
        (("text.py", "q.circuit.yaml"), "the text has "),
        (("model: one}", "model: nowhere}"), "nowhere"),
        (("[q.circuit.yaml]", "[q.circuit.yaml, again.circuit.yaml]"), "are named quote_close"),
    ],
    ids=["both", "neither", "misspelt", "short text", "no model", "one name"],
)
def test_what_cannot_be_swept_is_said(folder: Path, change: tuple[str, str], said: str) -> None:
    (folder / "bad.yaml").write_text(CONFIG.replace(*change), encoding="utf-8")
    (folder / "again.circuit.yaml").write_text((folder / "q.circuit.yaml").read_text())

    result = run(folder, out="bad", config="bad.yaml")

    assert result.exit_code in {2, 4}
    assert said.replace("frontier.yaml", "bad.yaml") in result.output
    assert not (folder / "bad" / "frontier.json").exists()


def test_a_record_that_is_none_is_not_written_over(folder: Path) -> None:
    (folder / "other").mkdir(exist_ok=True)
    (folder / "other" / "frontier.json").write_text('{"mine": 1}')

    result = run(folder, out="other")

    assert result.exit_code == 4
    assert "is no record of a sweep" in result.output
    assert (folder / "other" / "frontier.json").read_text() == '{"mine": 1}'


def test_a_search_that_is_stopped_stops_the_sweep_and_its_part_is_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_asked: object, **_more: object) -> tuple[int, str]:
        raise KeyboardInterrupt("SIGTERM")

    monkeypatch.setattr(Sweep, "_command", stopped)

    result = run(folder, out="stopped")

    assert result.exit_code == 75
    assert "stopped by SIGTERM; what is done is kept in" in result.output
