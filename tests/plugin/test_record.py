"""The evidence record crosses processes unchanged and never holds a number that is none."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_circuits.claims.evidence import Counterexample, Evidence, Law, Rate, Verdict
from pytest_circuits.report.record import (
    circuit_from_json,
    dump,
    evidence_from_json,
    evidence_to_json,
    run_to_json,
)
from pytest_circuits.report.run import Artifact, Baseline, Run
from tests.plugin.test_failure_text import EVIDENCE
from tests.plugin.test_summary import CIRCUIT, GOOD

numbers = st.floats(allow_nan=False, allow_infinity=False)
rates = st.builds(
    Rate,
    estimate=numbers,
    lower=numbers,
    upper=numbers,
    threshold=numbers,
    n=st.integers(min_value=0),
    exhaustive=st.booleans(),
)
examples = st.builds(
    Counterexample,
    prompt=st.text(),
    answer=st.text(),
    foil=st.text(),
    partner=st.text(),
    tokens=st.lists(st.text()).map(tuple),
    margins=st.dictionaries(st.text(), numbers),
    logits=st.dictionaries(st.text(), st.dictionaries(st.text(), numbers)),
    violation=st.text(),
)
evidence = st.builds(
    Evidence,
    claim=st.text(),
    verdict=st.sampled_from(Verdict),
    reason=st.text(),
    rate=st.none() | rates,
    law=st.none() | st.builds(Law, searched=st.integers(), counterexample=st.none() | examples),
    measures=st.dictionaries(st.text(), numbers),
)


@given(evidence)
def test_evidence_survives_the_trip_between_processes(made: Evidence) -> None:
    text = json.dumps(evidence_to_json(made))

    assert evidence_from_json(json.loads(text)) == made


def test_a_circuit_survives_the_trip_between_processes() -> None:
    compared = replace(CIRCUIT, baseline=Baseline("base", "b" * 64, recorded=False))

    assert [circuit_from_json(asdict(c)) for c in (CIRCUIT, compared)] == [CIRCUIT, compared]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_becomes_null_with_the_reason(value: float) -> None:
    broken = replace(EVIDENCE, measures={"task_loss": value})

    fields = evidence_to_json(broken)

    assert fields["measures"]["task_loss"] is None
    assert fields["reason"].endswith("not a finite number: measures.task_loss")


def test_a_delta_without_a_baseline_is_left_out() -> None:
    assert "delta_to_baseline" not in evidence_to_json(EVIDENCE)["measures"]


def test_keys_are_sorted_and_text_is_ascii() -> None:
    text = dump(run_to_json(replace(GOOD, started="now\u202e")))

    assert text.isascii()
    assert json.dumps(json.loads(text), sort_keys=True) == json.dumps(json.loads(text))


def test_one_model_stands_at_the_top() -> None:
    record = run_to_json(GOOD)

    assert record["model"] == {"path": "models/tiny", "digest": "a" * 64}
    assert record["baseline"]["path"] is None
    assert record["baseline"]["reason"] == "the baseline files beside the specs"


def test_each_circuit_tells_which_model_its_baseline_is_of() -> None:
    file = Baseline("circuits/other.baseline.yaml", "a" * 64, recorded=True)
    live = Baseline("base", "b" * 64, recorded=False)
    circuits = tuple(replace(CIRCUIT, baseline=baseline) for baseline in (None, file, live))

    record = run_to_json(Run(circuits, ()))

    assert [circuit["baseline"] for circuit in record["circuits"]] == [
        None,
        {**asdict(file), "is_candidate": True},
        {**asdict(live), "is_candidate": False},
    ]
    assert record["baseline"] == {"path": "base", "digest": "b" * 64}


def test_several_models_are_null_with_the_reason() -> None:
    other = replace(CIRCUIT, name="other", model=Artifact("models/big", "c" * 64))

    model: dict[str, Any] = run_to_json(Run((CIRCUIT, other), GOOD.results))["model"]

    assert (model["path"], model["digest"]) == (None, None)
    assert "models/tiny" in model["reason"]
    assert "models/big" in model["reason"]
