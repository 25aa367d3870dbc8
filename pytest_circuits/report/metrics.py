"""The numbers of a run as one flat object, as DVC, MLflow and W&B read them."""

from __future__ import annotations

import math

from pytest_circuits.claims.evidence import Evidence, Verdict
from pytest_circuits.report.record import dump
from pytest_circuits.report.run import Run
from pytest_circuits.report.writing import Target

Numbers = dict[str, float]


def metrics(run: Run) -> Numbers:
    """`{"quote_close.sufficient.ci_low": 0.98, ...}`: finite numbers; what is not one is absent.

    `passed` is 1 or 0, of each claim and of the gate.
    """
    found: dict[str, float | None] = {
        "gate.passed": int(run.verdict is Verdict.PASS),
        "gate.claims": len(run.results),
        "gate.claims_passed": sum(r.verdict is Verdict.PASS for r in run.results),
    }
    for circuit in run.circuits:
        found |= {f"{circuit.name}.nodes": circuit.nodes, f"{circuit.name}.edges": circuit.edges}
    for result in run.results:
        start = f"{result.circuit}.{result.evidence.claim}"
        found |= {f"{start}.{name}": value for name, value in _numbers(result.evidence).items()}
    return {
        name: value
        for name, value in sorted(found.items())
        if value is not None and math.isfinite(value)
    }


def make(run: Run, _: Target) -> bytes:
    return dump(metrics(run)).encode()


def _numbers(evidence: Evidence) -> dict[str, float | None]:
    found: dict[str, float | None] = {
        **evidence.measures,
        "passed": int(evidence.verdict is Verdict.PASS),
    }
    if rate := evidence.rate:
        found |= {
            "estimate": rate.estimate,
            "ci_low": rate.lower,
            "ci_high": rate.upper,
            "threshold": rate.threshold,
            "n": rate.n,
        }
    if evidence.law:
        found["searched"] = evidence.law.searched
    return found
