"""A calibrated circuit passes for what it tells apart itself, and says that it is calibrated."""

from __future__ import annotations

import pytest

from pytest_circuits.circuit.calibration import fit
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.view import WHOLE, View
from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.claims.laws import run_claim
from pytest_circuits.claims.stable.baseline_file import record_baseline
from pytest_circuits.model.protocol import Model
from tests.claims.conftest import MakeBench, MakeModel
from tests.known_models import BIAS_NODE, BRACKET_PATH, QUOTE_PATH, Circuit, Weights, merged

UNSURE = Weights(path=0.1, weak=1.5)  # the path prefers the answer by 1.4 nats, not by several
FAINT = Weights(path=0.05, weak=1.5)  # by 0.7 nats
PATH = merged(QUOTE_PATH, BIAS_NODE)
QUICK = "{pairs: 100, search: 10, controls: 19}"
NAT = "{pairs: 300, search: 30, controls: 39, margin: 1.0}"  # less than what UNSURE prefers by


def calibration(scale: float, shift: float) -> str:
    return f"calibration: {{scale: {scale}, shift: {shift}}}\n"


@pytest.fixture
def unsure(make_model: MakeModel) -> Model:
    return make_model(UNSURE)


def test_a_circuit_that_is_right_but_not_sure_passes_only_when_calibrated(
    bench_of: MakeBench, unsure: Model
) -> None:
    plain = run_claim(bench := bench_of(PATH, unsure, protocol=NAT), "sufficient")
    pairs = bench.space.sample(50, seed=1)
    found = fit(*(bench.runner.margins(pairs, view) for view in (bench.circuit, WHOLE)))
    assert found is not None
    extra = calibration(found.scale, found.shift)

    evidence = run_claim(bench_of(PATH, unsure, extra=extra, protocol=NAT), "sufficient")

    assert plain.verdict is Verdict.FAIL
    assert "its task loss is 0.301 nats" in plain.reason
    assert evidence.verdict is Verdict.PASS
    assert evidence.measures["task_loss"] == pytest.approx(0.001, abs=0.001)
    assert evidence.measures["task_loss_uncalibrated"] == pytest.approx(0.301, abs=0.001)
    assert evidence.measures["calibration_scale"] == found.scale
    assert evidence.measures["calibration_shift"] == found.shift
    assert evidence.reason.startswith("the calibrated circuit alone prefers")
    assert (
        f"(the circuit is calibrated: {found.shift:+g} nats for '\"', and the task"
        in evidence.reason
    )
    assert not any("calibrat" in text for text in (plain.reason, *plain.measures))


@pytest.mark.parametrize("scale", [0.1, 10])
@pytest.mark.parametrize("shift", [-20, 0, 1, 20])
@pytest.mark.parametrize("nodes", [{}, BIAS_NODE, BRACKET_PATH], ids=["none", "bias", "bracket"])
def test_no_calibration_lets_a_circuit_pass_that_knows_nothing_of_the_cue(
    bench_of: MakeBench, nodes: Circuit, scale: float, shift: float
) -> None:
    bench = bench_of(nodes, extra=calibration(scale, shift), protocol=QUICK)

    assert run_claim(bench, "sufficient").verdict is Verdict.FAIL


def test_a_giant_scale_makes_no_evidence_of_a_tiny_preference(
    bench_of: MakeBench, make_model: MakeModel
) -> None:
    bench = bench_of(PATH, make_model(FAINT), extra=calibration(10, 0.65), protocol=NAT)

    evidence = run_claim(bench, "sufficient")

    assert evidence.measures["task_loss"] == pytest.approx(0, abs=0.15)
    assert evidence.verdict is Verdict.INCONCLUSIVE
    assert "a law with a margin of 1 nats is no evidence here" in evidence.reason


@pytest.mark.parametrize("claim", ["sufficient", "stable"])
def test_a_shift_does_not_stand_in_for_what_the_circuit_lacks(
    bench_of: MakeBench, unsure: Model, claim: str
) -> None:
    """Without its bias the path always gives the same answer; a shift would make it right."""
    extra = calibration(5, 11)

    evidence = run_claim(bench_of(QUOTE_PATH, unsure, baseline=unsure, extra=extra), claim)

    assert evidence.rate is not None
    assert evidence.rate.estimate == (1 if claim == "sufficient" else 0)
    assert evidence.verdict is Verdict.FAIL
    assert "shifts the circuit by 11 nats, and the circuit itself tells" in evidence.reason
    assert "the shift decides, not the circuit" in evidence.reason


@pytest.mark.parametrize("scale", [3, 5, 10])
def test_no_scale_makes_a_circuit_better_than_itself_as_a_control(
    bench_of: MakeBench, unsure: Model, scale: float
) -> None:
    bench = bench_of(PATH, unsure, extra=calibration(scale, 0.89))
    bench.__dict__["controls"] = [bench.nodes] * 39

    evidence = run_claim(bench, "sufficient")

    assert evidence.verdict is Verdict.FAIL
    assert "no better than chance" in evidence.reason
    assert evidence.measures["control_loss"] == pytest.approx(0.001, abs=0.001)


@pytest.mark.parametrize("live", [True, False], ids=["model", "record"])
def test_both_sides_of_a_comparison_have_the_shift(
    bench_of: MakeBench,
    unsure: Model,
    live: bool,  # noqa: FBT001
) -> None:
    extra = calibration(5, 0.3)
    plain = bench_of(PATH, unsure, protocol=NAT)
    bench = bench_of(PATH, unsure, extra=extra, protocol=NAT)
    baseline = unsure if live else record_baseline(bench, [])
    pairs = bench.sample.pairs[:20]

    bench = bench_of(PATH, unsure, baseline=baseline, extra=extra, protocol=NAT)
    evidence = run_claim(bench, "stable")

    assert evidence.verdict is Verdict.PASS
    assert "the circuit is calibrated" in evidence.reason
    moved = bench.runner.margins(pairs, bench.circuit) - plain.runner.margins(pairs, plain.circuit)
    assert moved[:, 0] == pytest.approx(0.3, abs=1e-4)
    assert moved[:, 1] == pytest.approx(-0.3, abs=1e-4)
    many = bench.runner.margins_many(pairs, [bench.circuit, View.circuit(Nodes.of(PATH))])
    assert (many[0] - many[1])[:, 0] == pytest.approx(0.3, abs=1e-4)


def test_a_broken_law_of_a_calibrated_circuit_says_so(bench_of: MakeBench) -> None:
    evidence = run_claim(bench_of(BRACKET_PATH, extra=calibration(2, 0)), "sufficient")

    assert evidence.law is not None
    assert evidence.law.counterexample is not None
    assert "calibrated circuit alone" in evidence.law.counterexample.margins
    assert "circuit alone" not in evidence.law.counterexample.margins
    assert "(the circuit is calibrated: +0 nats" in evidence.reason
    assert evidence.measures["calibration_scale"] == 2
