"""A run as the predicate `test-result/v0.1` of in-toto, for others to sign.

https://in-toto.io/attestation/test-result/v0.1: `result`, the `configuration` with the digests of
all that was evaluated, and the names of the tests that passed, warned and failed. Nothing that is
left out of it could turn a refusal into a release: only what passed is listed as passed.
`result` is `WARNED` where the gate is green and claims are waived.
"""

from __future__ import annotations

from pathlib import Path

from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.report.record import dump
from pytest_circuits.report.run import Json, Run
from pytest_circuits.report.writing import Record, Target


def predicate(run: Run, *, record: Record | None = None) -> Json:
    """The predicate, which names the record of the run where one was written."""
    passed = [result.nodeid for result in run.results if result.verdict is Verdict.PASS]
    warned = [result.nodeid for result in run.results if result.waived]
    failed = [r.nodeid for r in run.results if r.verdict is not Verdict.PASS and not r.waived]
    unwaived = "WARNED" if warned and run.green and not run.not_asked_for else "FAILED"
    found: Json = {
        "result": "PASSED" if run.verdict is Verdict.PASS else unwaived,
        "configuration": _configuration(run, record),
        "passedTests": passed,
        "warnedTests": warned,
        "failedTests": [*failed, *run.refused],
    }
    return {**found, "url": run.url} if run.url else found


def make(run: Run, target: Target) -> bytes:
    return dump(predicate(run, record=target.record)).encode()


def _configuration(run: Run, record: Record | None) -> list[Json]:
    files = dict.fromkeys(file for circuit in run.circuits for file in circuit.files)
    return [
        {
            "name": run.tool.name,
            "uri": f"pkg:pypi/{run.tool.name}@{run.tool.version}",
            "annotations": {"role": "tool", "versions": run.versions},
        },
        *(
            {"name": f.name, "digest": {"sha256": f.sha256}, "annotations": {"role": f.role}}
            for f in sorted(files, key=lambda file: (file.role, file.name, file.sha256))
        ),
        *([_resource(record)] if record else []),
    ]


def _resource(record: Record) -> Json:
    return {
        "name": Path(record.shown).name,
        "digest": {"sha256": record.sha256},
        "mediaType": "application/json",
        "annotations": {"role": "evidence"},
    }
