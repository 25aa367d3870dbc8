"""From what was asked for and what was reported to one verdict and one exit status."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from pytest_circuits.claims.evidence import WORST_FIRST, Evidence, Verdict
from pytest_circuits.claims.registry import CLAIMS
from pytest_circuits.claims.selfcheck import SELFCHECK
from pytest_circuits.gate import descent
from pytest_circuits.gate.provenance import glossary
from pytest_circuits.gate.state import Expected, Gate, Outcome
from pytest_circuits.gate.waivers import complaints, remark, waiver_for
from pytest_circuits.report.record import evidence_from_json
from pytest_circuits.report.run import Circuit, Result, Run, State


def decide(gate: Gate) -> Run:
    """Return the run: a result for every claim that was asked for, and what is missing."""
    circuits = sorted(gate.circuits.values(), key=lambda circuit: (circuit.spec, circuit.name))

    def order(expected: Expected) -> tuple[str, str, int]:
        circuit = gate.circuits[expected.circuit]
        place = (*circuit.declared, SELFCHECK).index(expected.claim)
        return circuit.spec, circuit.name, place

    results = tuple(_result(gate, each) for each in sorted(gate.expected.values(), key=order))
    return Run(
        tuple(circuits),
        results,
        refused=tuple(gate.refused),
        refusals=tuple(dict.fromkeys(gate.refusals)),
        problems=(*_problems(gate, results), *complaints(gate, results)),
        notes=(
            *remark(gate, results),
            *_matches(circuits),
            *_against_itself(gate, circuits),
            *descent.warnings(gate, circuits),
        ),
        claims=glossary(),
    )


def _matches(circuits: Sequence[Circuit]) -> Iterator[str]:
    """How each circuit was found again, where that was asked for."""
    for circuit in circuits:
        found = circuit.matched
        if found is None:
            continue
        alike = f"alike by {found.mean:.2f} on average and {found.least:.2f} at least"
        if found.file is None:
            yield f"{circuit.name}: matched: every node is where it was ({alike})"
        else:
            yield (
                f"{circuit.name}: matched: {found.moved} of {circuit.nodes} nodes have other "
                f"numbers ({alike}); {found.file} is what was tested: review it"
            )


def _against_itself(gate: Gate, circuits: Sequence[Circuit]) -> Iterator[str]:
    """Which candidates are the model that they are compared with: allowed, but nothing is new."""
    same = [(c.name, c.baseline) for c in circuits if c.baseline and c.is_its_baseline]
    live = [name for name, baseline in same if not baseline.recorded]
    files = [name for name, baseline in same if baseline.recorded and gate.settings.model]
    if live:
        yield f"compared with the candidate itself, so that nothing can differ: {', '.join(live)}"
    if files:
        yield (
            "the candidate is the very model that the baseline was recorded from: "
            f"{', '.join(files)}"
        )


def exit_status(gate: Gate, run: Run, status: int) -> int:
    """Return the exit status: 0 only if every claim passes; what pytest found worse stays.

    1: a claim does not pass or did not run. 2: input that cannot be used. 4: nothing to test.
    """
    if gate.refused:
        return pytest.ExitCode.INTERRUPTED
    if status not in {
        pytest.ExitCode.OK,
        pytest.ExitCode.TESTS_FAILED,
        pytest.ExitCode.NO_TESTS_COLLECTED,
    }:
        return status
    if not any(result.state is not State.DESELECTED for result in run.results):
        return pytest.ExitCode.USAGE_ERROR
    return status if run.green else pytest.ExitCode.TESTS_FAILED


def _result(gate: Gate, expected: Expected) -> Result:
    outcome = gate.outcomes.get(expected.nodeid, Outcome())
    found = [evidence_from_json(json.loads(text)) for text in outcome.evidence]
    evidence = min(found, key=lambda item: WORST_FIRST.index(item.verdict), default=None)
    state, evidence = _judged(gate, expected, outcome, evidence)
    circuit = gate.circuits[expected.circuit]
    waived = waiver_for(gate, circuit, evidence) if state is State.RAN else None
    return Result(
        expected.nodeid, expected.circuit, evidence, state, outcome.seconds, expected.place, waived
    )


def _judged(
    gate: Gate, expected: Expected, outcome: Outcome, evidence: Evidence | None
) -> tuple[State, Evidence]:
    """Return how far a claim came, and evidence that passes only if it ran and passed."""
    nothing = Evidence(expected.claim, Verdict.INCONCLUSIVE, "did not run")
    if outcome.failed is not None:
        reason = f"an error in its {outcome.failed}, shown in the log, kept it from being decided"
        return State.ERROR, replace(evidence or nothing, verdict=Verdict.FAIL, reason=reason)
    if evidence is not None:
        return State.RAN, evidence
    if outcome.skipped is not None:
        return State.SKIPPED, replace(nothing, reason=f"was skipped: {outcome.skipped}")
    if expected.nodeid in gate.deselected:
        return State.DESELECTED, replace(nothing, reason="was deselected")
    return State.NOT_RUN, nothing


def _problems(gate: Gate, results: tuple[Result, ...]) -> Iterator[str]:
    states = [result.state for result in results]
    deselected, unrun = states.count(State.DESELECTED), states.count(State.NOT_RUN)
    if deselected:
        were = "claim was" if deselected == 1 else "claims were"
        yield (
            f"{deselected} {were} deselected (-k, -m, --deselect, --lf); "
            "to gate on a part, name its files or node ids instead"
        )
    for name in sorted(gate.changed):
        yield f"circuit {name}: a file that it depends on changed while the gate ran"
    if unrun and not gate.refused:  # pytest runs nothing when it could not collect everything
        yield f"{unrun} {'claim' if unrun == 1 else 'claims'} did not run"
    for circuit in gate.circuits.values():
        absent = [
            name
            for name in gate.settings.require
            if name not in circuit.declared and (circuit.nodes or not CLAIMS[name].needs_nodes)
        ]
        if absent:
            yield (
                f"{circuit.spec}: circuit {circuit.name} does not declare {', '.join(absent)}, "
                "which circuits_require asks for"
            )
    collected = {circuit.spec for circuit in gate.circuits.values()} | set(gate.refused)
    for path in gate.found.specs:
        name = gate.names.relative(path)
        if name not in collected:
            yield (
                f"{name}: lies where the gate looks, but pytest did not collect it "
                "(norecursedirs, --ignore, a virtual environment, --lf, a conftest.py?)"
            )
