"""A run as the predicate `test-result/v0.1` of in-toto, for others to sign.

https://in-toto.io/attestation/test-result/v0.1: `result`, the `configuration` with the digests of
all that was evaluated, and the names of the tests that passed, warned and failed. Nothing that is
left out of it could turn a refusal into a release: only what passed is listed as passed.
`result` is `WARNED` where the gate is green and claims are waived.
"""

from __future__ import annotations

from collections.abc import Mapping

from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.report.record import tool, versions
from pytest_circuits.report.run import Json, Run


def predicate(
    run: Run, *, evidence: tuple[str, str] | None, environment: Mapping[str, str]
) -> Json:
    """The predicate.

    evidence: name and sha256 of the record of the run, where one was written.
    environment: variables of the CI system, of which the address of the run is made.
    """
    passed = [result.nodeid for result in run.results if result.verdict is Verdict.PASS]
    warned = [result.nodeid for result in run.results if result.waived]
    failed = [
        result.nodeid
        for result in run.results
        if not (result.verdict is Verdict.PASS or result.waived)
    ]
    unwaived = "WARNED" if warned and run.green and not run.not_asked_for else "FAILED"
    found: Json = {
        "result": "PASSED" if run.verdict is Verdict.PASS else unwaived,
        "configuration": _configuration(run, evidence),
        "passedTests": passed,
        "warnedTests": warned,
        "failedTests": [*failed, *run.refused],
    }
    address = _address(environment)
    return {**found, "url": address} if address else found


def _configuration(run: Run, evidence: tuple[str, str] | None) -> list[Json]:
    files = dict.fromkeys(file for circuit in run.circuits for file in circuit.files)
    return [
        {
            "name": tool()["name"],
            "uri": f"pkg:pypi/{tool()['name']}@{tool()['version']}",
            "annotations": {"role": "tool", "versions": versions()},
        },
        *(
            {"name": f.name, "digest": {"sha256": f.sha256}, "annotations": {"role": f.role}}
            for f in sorted(files, key=lambda file: (file.role, file.name, file.sha256))
        ),
        *([_resource(*evidence)] if evidence else []),
    ]


def _resource(name: str, digest: str) -> Json:
    return {
        "name": name,
        "digest": {"sha256": digest},
        "mediaType": "application/json",
        "annotations": {"role": "evidence"},
    }


def _address(environment: Mapping[str, str]) -> str:
    """Where the run can be looked at: of GitHub Actions or GitLab CI, else nowhere."""
    names = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
    server, repository, number = (environment.get(name) for name in names)
    if server and repository and number:
        return f"{server}/{repository}/actions/runs/{number}"
    return environment.get("CI_JOB_URL", "")
