"""What was asked for, deselected, refused and reported, in this process or in workers of xdist.

A claim that was asked for and did not run is never forgotten: what is asked for is known from the
disk and from the collection, before anything can be deselected, and compared with the reports.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pytest_circuits.discover import is_spec
from pytest_circuits.gate.collect import CircuitFile, ClaimFailed, ClaimItem
from pytest_circuits.gate.state import Expected, Gate, Outcome
from pytest_circuits.gate.waivers import mark
from pytest_circuits.report.record import circuit_from_json, circuit_to_json, evidence_to_json
from pytest_circuits.report.run import Place, Refusal

EVIDENCE = "circuits_evidence"  # attribute of a report: JSON text
REFUSAL = "circuits_refusal"  # attribute of a report: lines, columns and texts
WORKER = "circuits"  # key of what is handed to a worker of xdist, and of what it hands over


def expect(gate: Gate, item: pytest.Item) -> None:
    if isinstance(item, ClaimItem):
        circuit = item.prepared.circuit
        gate.circuits[circuit.name] = circuit
        place = item.prepared.place_of(item.name)
        gate.expected[item.nodeid] = Expected(item.nodeid, circuit.name, item.name, place)


def attach(
    gate: Gate, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport
) -> None:
    """Put the evidence on a claim's report, as text: it has to cross processes.

    A claim that a waiver lets through is an expected failure; one that passes in spite of a waiver
    is a failure, as the gate fails for it.
    """
    if not isinstance(item, ClaimItem):
        return
    # Hypothesis shows how to repeat its search in Python code that a user does not have.
    report.sections = [section for section in report.sections if section[0] != "Hypothesis"]
    item.__dict__.pop("_hypothesis_failing_examples", None)
    if report.when == "call" and item.evidence is not None:
        if report.failed and not (call.excinfo and isinstance(call.excinfo.value, ClaimFailed)):
            return  # something failed after the claim was decided
        report.__dict__[EVIDENCE] = json.dumps(evidence_to_json(item.evidence), allow_nan=False)
        mark(gate, item, report)


def attach_refusal(collector: pytest.Collector, report: pytest.CollectReport) -> None:
    """Put the places of what is wrong with a specification on its report: it crosses processes."""
    if isinstance(collector, CircuitFile) and collector.refusal:
        report.__dict__[REFUSAL] = collector.refusal


def note_collection(gate: Gate, report: pytest.CollectReport) -> None:
    """Remember a specification that could not be collected, and why."""
    if not (report.failed and _is_claim(report.nodeid)):
        return
    spec = report.nodeid.partition("::")[0]
    gate.refused[spec] = None
    unknown = [(1, 1, "an error, shown in the log, kept it from being collected")]
    for line, column, text in report.__dict__.get(REFUSAL, unknown):
        gate.refusals.append(Refusal(spec, line, column, text))


def note_outcome(gate: Gate, report: pytest.TestReport) -> None:
    """Remember what a report says about a claim; a second report never hides the first."""
    if not _is_claim(report.nodeid):
        return
    outcome = gate.outcomes.setdefault(report.nodeid, Outcome())
    outcome.seconds += report.duration
    evidence = report.__dict__.get(EVIDENCE)
    if evidence is not None:
        outcome.evidence.append(evidence)
    elif report.failed:
        outcome.failed = "run" if report.when in {None, "???"} else report.when  # a worker crashed
    elif report.skipped:
        outcome.skipped = _reason(report)


def hand_to_worker(gate: Gate, node: Any) -> None:  # noqa: ANN401  (a type of xdist)
    """Tell a worker when the run began, so that all of it has one date."""
    node.workerinput[WORKER] = {"started": gate.started}


def started_elsewhere(config: pytest.Config) -> float | None:
    """When the run began that this process is a worker of; None where it is no worker."""
    handed = getattr(config, "workerinput", {}).get(WORKER)
    return handed["started"] if handed else None


def hand_to_controller(gate: Gate) -> None:
    """Let a worker tell what it collected."""
    gate.config.workeroutput[WORKER] = {  # type: ignore[attr-defined]  # given by xdist
        "circuits": [circuit_to_json(circuit) for circuit in gate.circuits.values()],
        "expected": [asdict(expected) for expected in gate.expected.values()],
        "deselected": sorted(gate.deselected),
    }


def merge_worker(gate: Gate, node: Any) -> None:  # noqa: ANN401  (a type of xdist)
    """Take over what a worker collected; a worker that crashed has nothing to hand over."""
    handed = getattr(node, "workeroutput", {}).get(WORKER)
    if handed is None:
        return
    for fields in handed["circuits"]:
        circuit = circuit_from_json(fields)
        if gate.circuits.setdefault(circuit.name, circuit) != circuit:
            gate.changed.add(circuit.name)
    for fields in handed["expected"]:
        expected = Expected(**{**fields, "place": Place(**fields["place"])})
        gate.expected[expected.nodeid] = expected
    gate.deselected.update(handed["deselected"])


def _is_claim(nodeid: str) -> bool:
    return is_spec(Path(nodeid.partition("::")[0]))


def _reason(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return "without a reason"
