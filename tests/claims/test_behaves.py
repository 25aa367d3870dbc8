"""`behaves` holds for a model that does the job and for no other."""

from __future__ import annotations

from pathlib import Path

from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.claims.laws import run_claim
from pytest_circuits.model.sparse.directory import load_sparse_model
from tests.claims.conftest import MakeBench, MakeModel
from tests.known_models import QUOTE_PATH, Weights, write_quote_copier


def test_a_model_that_copies_the_quote_behaves(bench_of: MakeBench) -> None:
    evidence = run_claim(bench_of(QUOTE_PATH), "behaves")

    assert evidence.verdict is Verdict.PASS
    assert evidence.rate is not None
    assert evidence.rate.estimate == 1
    assert evidence.law is not None
    assert evidence.law.counterexample is None


def test_a_model_without_the_path_does_not_behave(
    bench_of: MakeBench, make_model: MakeModel
) -> None:
    broken = make_model(Weights(path=0.0, weak=0.0, bias=24.0))

    evidence = run_claim(bench_of(QUOTE_PATH, broken), "behaves")

    assert evidence.verdict is Verdict.FAIL
    assert "prefers the answer on" in evidence.reason


def test_a_model_that_is_wrong_on_one_kind_of_prompt_breaks_the_law(
    bench_of: MakeBench, make_model: MakeModel
) -> None:
    turned = make_model(Weights(path=-1.5))

    evidence = run_claim(bench_of(QUOTE_PATH, turned), "behaves")

    assert evidence.verdict is Verdict.FAIL
    assert evidence.law is not None
    found = evidence.law.counterexample
    assert found is not None
    assert found.prompt == 'x = "alpha'
    assert found.partner == "x = 'alpha"
    assert "".join(found.tokens) == found.prompt
    assert 'prefers "\'"' in found.violation


def test_a_margin_that_nothing_could_break_is_no_evidence(bench_of: MakeBench) -> None:
    evidence = run_claim(bench_of(QUOTE_PATH, protocol="{margin: 50}"), "behaves")

    assert evidence.verdict is Verdict.INCONCLUSIVE
    assert "no evidence" in evidence.reason


def test_logits_that_are_not_numbers_fail(bench_of: MakeBench, tmp_path: Path) -> None:
    overflowing = load_sparse_model(write_quote_copier(tmp_path / "model"))
    overflowing.module.unembed.bias.fill_(float("nan"))

    evidence = run_claim(bench_of(QUOTE_PATH, overflowing), "behaves")

    assert evidence.verdict is Verdict.FAIL
    assert "not numbers" in evidence.reason
    assert evidence.law is not None
    assert evidence.law.counterexample is not None
    assert evidence.law.counterexample.margins["whole model"] is None
    assert evidence.law.counterexample.causes == ()


def test_a_rate_near_its_threshold_is_inconclusive_and_says_what_would_settle_it(
    bench_of: MakeBench,
) -> None:
    evidence = run_claim(bench_of(QUOTE_PATH, protocol="{pairs: 100}"), "behaves")

    assert evidence.verdict is Verdict.INCONCLUSIVE
    assert "prompts would settle it" in evidence.reason
