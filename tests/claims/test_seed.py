"""What cannot be turned until a draw suits: names, texts and limits draw the same prompts."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from pytest_circuits.claims.laws import run_claim
from pytest_circuits.claims.setup import make_bench
from pytest_circuits.model.protocol import Model
from pytest_circuits.spec.load import parse_spec
from tests.known_models import QUOTE_PATH, WEAK_PATH, quote_spec

CLAIMS = ["behaves", "sufficient", "necessary", "specific", "faithful", "minimal"]
RENAMED = {
    "circuit: quote_close": "circuit: any_other_name\ndescription: Said in other words.",
    "behavior:": "found_by: {seed: 7}\nundeclared: {blind: not asked for}\nbehavior:",
    "\n": "  # and a comment\n",
}
TURNED = {"rate: 0.98": "rate: 0.9799999", "controls: 39": "controls: 39, alpha: 0.009999"}


@pytest.fixture
def spec(tmp_path: Path) -> str:
    """A specification with another one beside it."""
    Path(tmp_path, "bracket.circuit.yaml").write_text(quote_spec(WEAK_PATH, behavior="bracket"))
    return quote_spec(QUOTE_PATH, claims=CLAIMS, protocol="{pairs: 300, search: 30, controls: 39}")


def test_a_circuit_with_another_name_and_description_has_the_same_numbers(
    spec: str, copier: Model, tmp_path: Path
) -> None:
    renamed = spec
    for old, new in RENAMED.items():
        renamed = renamed.replace(old, new, 1)
    texts = spec, renamed

    benches = [
        make_bench(parse_spec(text, path=tmp_path / f"{i}.circuit.yaml"), copier)
        for i, text in enumerate(texts)
    ]

    assert len({bench.spec.circuit for bench in benches}) == 2
    assert len({bench.loaded.digest for bench in benches}) == 2
    for claim in CLAIMS:
        before, after = (asdict(run_claim(bench, claim)) for bench in benches)
        assert before == after


def test_a_limit_that_is_moved_by_a_millionth_draws_the_same_prompts(
    spec: str, copier: Model, tmp_path: Path
) -> None:
    turned = spec
    for old, new in TURNED.items():
        assert old in turned
        turned = turned.replace(old, new, 1)
    one, other = (
        make_bench(parse_spec(text, path=tmp_path / "q.circuit.yaml"), copier)
        for text in (spec, turned)
    )

    assert one.sample.pairs == other.sample.pairs
    assert one.controls == other.controls
    assert one.searched_pairs == other.searched_pairs
