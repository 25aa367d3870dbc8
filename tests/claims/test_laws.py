"""The search finds one small prompt, the same one wherever and however it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from pytest_circuits.circuit.view import WHOLE
from pytest_circuits.claims.laws import LawBroken, finish, given_test, run_claim, searching
from pytest_circuits.claims.registry import CLAIMS, declared
from pytest_circuits.prompts.space import Pair, Prompt
from tests.claims.conftest import MakeBench
from tests.known_models import BRACKET_PATH, QUOTE_PATH, quote_spec

REGRESSION = 'regressions: ["value = \'omega theta"]\n'


def test_a_broken_law_shrinks_to_one_minimal_prompt(bench_of: MakeBench) -> None:
    test = given_test(bench_of(BRACKET_PATH), "sufficient", "q.circuit.yaml::q::sufficient")

    with pytest.raises(LawBroken, match="the circuit alone prefers") as broken:
        test()

    assert broken.value.counterexample.prompt == 'x = "alpha'


def test_a_regression_runs_before_anything_is_drawn(bench_of: MakeBench) -> None:
    bench = bench_of(BRACKET_PATH, extra=REGRESSION, protocol="{search: 10}")

    with pytest.raises(LawBroken) as broken:
        given_test(bench, "sufficient")()

    assert bench.tried["sufficient"] == {*bench.space.parse("value = 'omega theta")}
    assert broken.value.counterexample.prompt in {"value = 'omega theta", 'value = "omega theta'}


def test_every_claim_of_a_circuit_tries_the_same_prompts(bench_of: MakeBench) -> None:
    bench = bench_of(QUOTE_PATH)

    for claim in ("behaves", "sufficient", "necessary"):
        given_test(bench, claim)()

    assert bench.tried["behaves"] == bench.tried["sufficient"] == bench.tried["necessary"]
    assert bench.tried["behaves"] == set(bench.searched_pairs)


def test_a_search_that_finds_nothing_tries_what_was_evaluated_ahead(bench_of: MakeBench) -> None:
    bench, card = bench_of(QUOTE_PATH, extra=REGRESSION), CLAIMS["necessary"].law
    assert card is not None
    tried: set[Pair] = set()
    given_test(bench, "necessary")()

    searching(bench, card, tried, name="necessary")()

    assert tried == bench.tried["necessary"] > {*bench.space.parse("value = 'omega theta")}


def test_what_the_search_tries_is_evaluated_ahead_in_one_go(bench_of: MakeBench) -> None:
    bench = bench_of(QUOTE_PATH)
    bench.runner.margins([*bench.searched_pairs, *bench.sample.pairs], WHOLE)
    before = bench.runner.forwards

    given_test(bench, "behaves")()

    assert bench.runner.forwards == before


def test_the_search_depends_on_the_circuit_and_on_the_seed_that_was_asked_for(
    bench_of: MakeBench,
) -> None:
    first, again = bench_of(QUOTE_PATH).searched_pairs, bench_of(QUOTE_PATH).searched_pairs
    other = bench_of(BRACKET_PATH).searched_pairs
    seeded = bench_of(QUOTE_PATH, search_seed=1).searched_pairs

    assert first == again
    assert len({first, other, seeded}) == 3


@pytest.mark.usefixtures("profile_given_back")
def test_a_loaded_profile_changes_nothing(bench_of: MakeBench) -> None:
    expected = bench_of(QUOTE_PATH).searched_pairs
    settings.register_profile("hasty", max_examples=1, derandomize=True, database=None)
    settings.load_profile("hasty")

    found = bench_of(QUOTE_PATH).searched_pairs

    assert found == expected


SCRIPT = """
import sys
from pathlib import Path
from pytest_circuits.claims.setup import make_bench
from pytest_circuits.model.open import load_model
from pytest_circuits.spec.load import load_spec
bench = make_bench(load_spec(Path(sys.argv[1])), load_model(Path(sys.argv[2])))
print([pair.first.text for pair in bench.searched_pairs])
"""


def test_continuous_integration_tries_the_same_prompts(bench_of: MakeBench, tmp_path: Path) -> None:
    bench = bench_of(QUOTE_PATH, protocol="{search: 20}")
    spec = tmp_path / "q.circuit.yaml"
    spec.write_text("\n".join(bench.loaded.tree.lines), encoding="utf-8")

    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(spec), str(bench.model.path)],
        env={**os.environ, "CI": "1"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert found.stdout.strip() == str([pair.first.text for pair in bench.searched_pairs])


def test_a_violation_that_only_the_sample_holds_breaks_the_law_too(bench_of: MakeBench) -> None:
    bench = bench_of(BRACKET_PATH)

    evidence = finish(bench, "sufficient", None)

    assert evidence.law is not None
    assert evidence.law.searched == 2 * len(set(bench.sample.pairs))
    assert evidence.law.counterexample is not None
    assert "the circuit alone prefers" in evidence.law.counterexample.violation


def test_evidence_is_the_same_in_every_run_and_order(bench_of: MakeBench, tmp_path: Path) -> None:
    other = quote_spec({}, name="bracket", behavior="bracket")
    (tmp_path / "bracket.circuit.yaml").write_text(other)
    first, again = (bench_of(QUOTE_PATH, claims=tuple(CLAIMS)) for _ in range(2))

    forwards = {claim: run_claim(first, claim) for claim in declared(first.spec)}
    backwards = {claim: run_claim(again, claim) for claim in reversed(declared(again.spec))}

    assert forwards == backwards


def test_a_change_is_shown_with_the_partner_of_its_prompt(bench_of: MakeBench) -> None:
    bench = bench_of(QUOTE_PATH, claims=("blind",), ablation="contrast")

    law = run_claim(bench, "blind").law

    assert law is not None
    found = law.counterexample
    assert found is not None
    (pair,) = bench.space.parse(found.prompt)
    member = [pair.first.text, pair.second.text].index(found.prompt)
    alone = bench.runner.margins([pair], bench.circuit)[0, member]
    assert found.margins["circuit alone"] == pytest.approx(alone)


def test_a_prompt_without_a_partner_is_ablated_by_the_mean(bench_of: MakeBench) -> None:
    mean, contrast = (bench_of(QUOTE_PATH, ablation=kind) for kind in ("mean", "contrast"))
    prompt = Prompt("x = 'alpha", "'", '"')

    found = contrast.runner.logits(prompt, contrast.circuit)

    assert found == pytest.approx(mean.runner.logits(prompt, mean.circuit), abs=1e-4)


def test_what_breaks_the_law_ahead_of_the_search_counts_whatever_that_finds(
    bench_of: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the search draws other pairs, since another module was imported meanwhile."""
    bench = bench_of(BRACKET_PATH)
    monkeypatch.setattr("pytest_circuits.claims.laws.searching", lambda *_a, **_k: lambda: None)

    with pytest.raises(LawBroken):
        given_test(bench, "sufficient")()
