"""How far a prompt must go wrong: nats that are named, or a share of the model's own preference."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_circuits.circuit.margin import LEAST
from pytest_circuits.circuit.view import WHOLE
from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.claims.laws import run_claim
from tests.claims.conftest import MakeBench, MakeModel
from tests.known_models import QUOTE_PATH, Weights

QUICK = "{pairs: 100, search: 10, controls: 19}"
NAMED = "{pairs: 100, search: 10, controls: 19, margin: 0.75}"


@pytest.mark.parametrize("path", [0.1, 1.5, 6.0])
def test_a_margin_that_is_left_out_is_a_quarter_of_the_median_preference(
    bench_of: MakeBench, make_model: MakeModel, path: float
) -> None:
    bench = bench_of(QUOTE_PATH, make_model(Weights(path=path)), protocol=QUICK)
    preference = np.median(np.abs(bench.runner.margins(bench.sample.pairs, WHOLE)))

    evidence = run_claim(bench, "behaves")

    assert bench.margin == pytest.approx(preference / 4, rel=5e-3)
    assert evidence.measures["margin"] == bench.margin


def test_a_margin_that_is_named_is_what_it_says(bench_of: MakeBench) -> None:
    bench = bench_of(QUOTE_PATH, protocol=NAMED)

    evidence = run_claim(bench, "behaves")

    assert bench.margin == 0.75
    assert "margin" not in evidence.measures


def test_evidence_that_measured_nothing_has_no_margin_either(bench_of: MakeBench) -> None:
    """Numbers make it a measurement, which a waiver may cover; there is no baseline here."""
    assert run_claim(bench_of(QUOTE_PATH, protocol=QUICK), "stable").measures == {}


@pytest.mark.parametrize("size", [0.0, 1e-6, np.nan, np.inf])
def test_a_model_that_prefers_nothing_still_has_a_margin(
    bench_of: MakeBench, monkeypatch: pytest.MonkeyPatch, size: float
) -> None:
    bench = bench_of(QUOTE_PATH, protocol=QUICK)
    monkeypatch.setattr(bench.runner, "margins", lambda pairs, _: np.full((len(pairs), 2), size))

    evidence = run_claim(bench, "behaves")

    assert bench.margin == LEAST
    assert evidence.verdict is Verdict.FAIL


@pytest.mark.parametrize("text", ["margin: 0", "margin: -1", "margin: much"])
def test_a_margin_is_a_positive_number(bench_of: MakeBench, text: str) -> None:
    with pytest.raises(Exception, match="'margin' of protocol must be a number above 0"):
        bench_of(QUOTE_PATH, protocol=f"{{{text}}}")
