"""The baseline files that a run leaves behind, when it is asked to record them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.claims.stable.acceptance import accepted_changes
from pytest_circuits.claims.stable.baseline import Recorded
from pytest_circuits.claims.stable.baseline_file import (
    baseline_path,
    read_baseline,
    record_baseline,
    write_baseline,
)
from pytest_circuits.claims.stable.observed import sample_of
from pytest_circuits.errors import BaselineError
from pytest_circuits.gate.collect import COMPARES
from pytest_circuits.gate.loading import Prepared
from pytest_circuits.gate.state import Gate
from pytest_circuits.report.record import recorded
from pytest_circuits.report.run import Circuit, Result, Run, State


def record_baselines(gate: Gate, run: Run) -> Run:
    """Write the baselines that were asked for, of circuits that ran completely and pass."""
    for circuit in run.circuits:
        if gate.settings.update != "none" and COMPARES in circuit.declared:
            run = _record(gate, run, circuit)
    return run


def _record(gate: Gate, run: Run, circuit: Circuit) -> Run:
    paths = {gate.names.relative(path): path for path in gate.found.specs}
    prepared = gate.benches.prepare(paths[circuit.spec])
    if not prepared.will_record:
        return run
    results = [result for result in run.results if result.circuit == circuit.name]
    if obstacle := _obstacle(circuit, results):
        note = f"{circuit.name}: no baseline was recorded: {obstacle}"
        return replace(run, notes=(*run.notes, note))
    path = baseline_path(prepared.path, circuit.name)
    shown = gate.names.shown(path)
    try:
        changes = _write(path, prepared, results)
    except OSError as error:
        problem = f"{shown}: cannot be written: {error.strerror}"
        return replace(run, problems=(*run.problems, problem))
    if changes is None:
        return replace(run, notes=(*run.notes, f"{shown}: unchanged"))
    accepts = f"; it accepts: {'; '.join(changes)}" if changes else ""
    return replace(
        run,
        results=tuple(_decides_nothing(result, circuit) for result in run.results),
        notes=(*run.notes, f"{shown}: recorded; review and commit it{accepts}"),
        recorded=(*run.recorded, gate.names.relative(path)),
    )


def _obstacle(circuit: Circuit, results: list[Result]) -> str:
    """Say why the evidence of a circuit must not become its baseline; empty when it may."""
    ran = {result.evidence.claim: result for result in results if result.state is State.RAN}
    if absent := [claim for claim in circuit.declared if claim not in ran]:
        return f"the run is not complete without {', '.join(absent)}"
    failing = [
        claim
        for claim, result in ran.items()
        if claim != COMPARES and result.verdict is not Verdict.PASS
    ]
    does = "does" if len(failing) == 1 else "do"
    return f"{', '.join(failing)} {does} not pass" if failing else ""


def _write(path: Path, prepared: Prepared, results: list[Result]) -> list[str] | None:
    """Write one baseline; returns what it accepts, or None where it says what it said before."""
    bytes_before = path.read_bytes() if path.exists() else None
    before = _known(path)
    with prepared.at_work():
        after = record_baseline(prepared.bench, [result.evidence for result in results])
    write_baseline(path, after)
    if path.read_bytes() == bytes_before:
        return None
    if before is None:
        return []
    bench = prepared.bench
    return accepted_changes(
        before, after, sample_of(bench), alpha=bench.spec.protocol.alpha, margin=bench.margin
    )


def _known(path: Path) -> Recorded | None:
    """The baseline that is replaced; None where there is none that can be read."""
    try:
        return read_baseline(path)
    except BaselineError:
        return None


def _decides_nothing(result: Result, circuit: Circuit) -> Result:
    """Return the result of a comparison with the baseline that has just been replaced."""
    if result.circuit != circuit.name or result.evidence.claim != COMPARES:
        return result
    return replace(result, evidence=recorded(result.evidence), state=State.RECORDED)
