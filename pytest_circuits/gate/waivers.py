"""Waivers: claims that a team accepts for a while, although they do not pass.

A waiver changes no verdict. It lets a claim through that ran and was decided not to pass, until its
last day; and it fails the gate where it has ended or where nothing needs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime

import pytest

from pytest_circuits.claims.evidence import Evidence, Verdict
from pytest_circuits.gate.collect import ClaimItem
from pytest_circuits.gate.settings import Update
from pytest_circuits.gate.state import Gate
from pytest_circuits.report.run import DELTA, Circuit, Result, Waiver
from pytest_circuits.report.words import waived


def waiver_for(gate: Gate, circuit: Circuit, evidence: Evidence) -> Waiver | None:
    """The waiver that lets a claim through which ran, None where there is none or none counts.

    None counts for evidence that is no measurement (logits that are not numbers, a search that did
    not run, no baseline to compare with), and none in a run that records baselines.
    """
    waiver = circuit.waivers.get(evidence.claim)
    counts = (
        waiver is not None
        and evidence.verdict is not Verdict.PASS
        and _is_measured(evidence)
        and not _ended(waiver, gate)
        and gate.settings.update is Update.NONE
    )
    return waiver if counts else None


def unneeded(circuit: Circuit, evidence: Evidence) -> str:
    """What to do about the waiver of a claim that passes; empty where there is none."""
    waiver = circuit.waivers.get(evidence.claim)
    if waiver is None or evidence.verdict is not Verdict.PASS:
        return ""
    return (
        f"{waiver.place}: the claim {evidence.claim} passes without its waiver: remove the waiver"
    )


def mark(gate: Gate, item: ClaimItem, report: pytest.TestReport) -> None:
    """Give the report of a claim that ran the outcome that agrees with the exit status."""
    circuit, evidence = item.prepared.circuit, item.evidence
    assert evidence is not None  # noqa: S101  (it ran)
    waiver = waiver_for(gate, circuit, evidence)
    if waiver is not None and report.failed:
        report.outcome = "skipped"
        report.wasxfail = waived(waiver)
        item.user_properties.append(("circuits.waived", waiver.until))
    elif report.passed and (text := unneeded(circuit, evidence)):
        report.outcome = "failed"
        report.longrepr = text


def complaints(gate: Gate, results: Sequence[Result]) -> Iterator[str]:
    """Say of each waiver that has ended, or that nothing needs, what to do."""
    for circuit in gate.circuits.values():
        for claim, waiver in circuit.waivers.items():
            if _ended(waiver, gate):
                yield (
                    f"{waiver.place}: the waiver of {claim} ended on {waiver.until}: remove it, or "
                    "extend it by review"
                )
    for result in results:
        if text := unneeded(gate.circuits[result.circuit], result.evidence):
            yield text


def remark(gate: Gate, results: Sequence[Result]) -> Iterator[str]:
    """A note where waivers do not count because the run records baselines."""
    if gate.settings.update is not Update.NONE and any(
        result.verdict is not Verdict.PASS
        and result.evidence.claim in gate.circuits[result.circuit].waivers
        for result in results
    ):
        yield "waivers do not count in a run that records baselines (--circuits-update)"


def _is_measured(evidence: Evidence) -> bool:
    """Say whether there are numbers behind a verdict, all of them finite."""
    measures = [value for name, value in evidence.measures.items() if name != DELTA]
    example = evidence.law and evidence.law.counterexample
    shown = example.margins.values() if example else ()
    return bool(measures) and None not in (*measures, *shown)


def _ended(waiver: Waiver, gate: Gate) -> bool:
    today = datetime.fromtimestamp(gate.started, UTC).date()
    return date.fromisoformat(waiver.until) < today
