"""The evidence record: the one account of a run that every report is made from.

Its fields are those of schema version 1. Numbers are finite, or null with the reason beside them;
keys are sorted; no path is absolute; nothing outside `run` depends on when or how fast it ran, but
that `waived` of a claim becomes null after the last day of its waiver. Waived claims keep their
verdicts, and so does the run: its `verdict` is `pass` only where every claim passes.
"""

from __future__ import annotations

import json
import math
import platform
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pytest_circuits
from pytest_circuits.claims.evidence import Cause, Counterexample, Evidence, Law, Rate, Verdict
from pytest_circuits.report.grade import grade
from pytest_circuits.report.run import (
    DELTA,
    Artifact,
    Baseline,
    Circuit,
    Drawing,
    File,
    Json,
    Matched,
    Result,
    Run,
    Waiver,
)

SCHEMA_VERSION = 1
DISTRIBUTIONS = ("hypothesis", "numpy", "pytest", "scipy", "tokenizers", "torch")


def circuit_from_json(fields: Json) -> Circuit:
    """Return the circuit that `asdict` was given, after it crossed processes."""
    baseline, drawing, matched = (fields[name] for name in ("baseline", "drawing", "matched"))
    return Circuit(
        **{
            **fields,
            "declared": tuple(fields["declared"]),
            "model": Artifact(**fields["model"]),
            "waivers": {name: Waiver(**waiver) for name, waiver in fields["waivers"].items()},
            "baseline": None if baseline is None else Baseline(**baseline),
            "matched": None if matched is None else Matched(**matched),
            "files": tuple(File(**file) for file in fields["files"]),
            "drawing": None
            if drawing is None
            else Drawing(tuple(drawing["nodes"]), tuple(map(tuple, drawing["edges"]))),
        }
    )


def evidence_to_json(evidence: Evidence) -> Json:
    """Return the fields of one claim, every number finite or null."""
    lost: list[str] = []
    fields = _finite(asdict(evidence), "", lost)
    if fields["measures"].get(DELTA, 0) is None:
        del fields["measures"][DELTA]  # there is no baseline to differ from
    lost += [f"measures.{name}" for name, value in fields["measures"].items() if value is None]
    missing = sorted({name for name in lost if name not in evidence.reason})
    if missing:
        fields["reason"] = f"{evidence.reason}; not a finite number: {', '.join(missing)}"
    return {**fields, "verdict": evidence.verdict.value}


def evidence_from_json(fields: Json) -> Evidence:
    """Return the evidence that `evidence_to_json` was given, with null for what was not finite."""
    rate, law = fields["rate"], fields["law"]
    return Evidence(
        claim=fields["claim"],
        verdict=Verdict(fields["verdict"]),
        reason=fields["reason"],
        rate=None if rate is None else Rate(**rate),
        law=None if law is None else Law(law["searched"], _counterexample(law["counterexample"])),
        measures=fields["measures"],
    )


def versions() -> dict[str, str]:
    """Return the versions that the evidence may depend on."""
    found = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def tool() -> dict[str, str]:
    """Return what made the record."""
    return {"name": "pytest-circuits", "version": pytest_circuits.__version__}


def run_to_json(run: Run, *, about: Json) -> Json:
    """Return the whole record; `about` becomes the field `run`, the only one that holds times."""
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": run.verdict.value,
        "tool": tool(),
        "versions": versions(),
        "device": _only({circuit.device for circuit in run.circuits}),
        "model": _artifact(
            [circuit.model for circuit in run.circuits], none="no circuit was loaded"
        ),
        "baseline": _artifact(
            [
                Artifact(circuit.baseline.path, circuit.baseline.model_digest)
                for circuit in run.circuits
                if circuit.baseline and not circuit.baseline.recorded
            ],
            none="the baseline files beside the specs",
        ),
        "circuits": [_circuit(circuit, run) for circuit in run.circuits],
        "run": {
            **about,
            "problems": list(run.problems),
            "baselines_recorded": list(run.recorded),
            "seconds_by_claim": {result.nodeid: result.seconds for result in run.results},
        },
    }


def dump(record: Json) -> str:
    """Return the record as text: sorted, indented, ASCII, and without NaN."""
    return json.dumps(record, sort_keys=True, indent=2, allow_nan=False) + "\n"


def recorded(evidence: Evidence) -> Evidence:
    """Return the evidence of a comparison whose baseline this run replaces: it decides nothing."""
    before = f"; against the one that it replaces: {evidence.reason}" if evidence.rate else ""
    reason = f"its baseline was recorded by this run, so there is nothing to compare yet{before}"
    return replace(evidence, verdict=Verdict.INCONCLUSIVE, reason=reason)


def _circuit(circuit: Circuit, run: Run) -> Json:
    results = [result for result in run.results if result.circuit == circuit.name]
    return {
        "name": circuit.name,
        "spec": circuit.spec,
        "digest": circuit.digest,
        "nodes": circuit.nodes,
        "edges": circuit.edges,
        "grade": grade(circuit, results).to_json(),
        "reference_digest": circuit.reference_digest,
        "baseline": _baseline(circuit),
        "matched": None if circuit.matched is None else asdict(circuit.matched),
        "claims": [
            {**evidence_to_json(result.evidence), "waived": _waived(result)} for result in results
        ],
    }


def _baseline(circuit: Circuit) -> Json | None:
    if circuit.baseline is None:
        return None
    return {**asdict(circuit.baseline), "is_candidate": circuit.is_its_baseline}


def _waived(result: Result) -> Json | None:
    waiver = result.waived
    return None if waiver is None else {"until": waiver.until, "reason": waiver.reason}


def _artifact(artifacts: list[Artifact], *, none: str) -> Json:
    different = list(dict.fromkeys(artifacts))
    if len(different) == 1:
        return asdict(different[0])
    if not different:
        return {"path": None, "digest": None, "reason": none}
    listed = ", ".join(f"{artifact.path} ({artifact.digest})" for artifact in different)
    return {"path": None, "digest": None, "reason": f"the specs name several: {listed}"}


def _only(values: set[str]) -> str | None:
    return ", ".join(sorted(values)) or None


def _counterexample(fields: Json | None) -> Counterexample | None:
    if fields is None:
        return None
    causes = tuple(Cause(**cause) for cause in fields["causes"])
    return Counterexample(**{**fields, "tokens": tuple(fields["tokens"]), "causes": causes})


def _finite(value: Any, name: str, lost: list[str]) -> Any:  # noqa: ANN401  (any JSON value)
    if isinstance(value, dict):
        return {key: _finite(item, f"{name}.{key}".strip("."), lost) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item, name, lost) for item in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if math.isfinite(value):
        return float(value)
    lost.append(name)
    return None
