"""What does not pass as SARIF 2.1.0, for code scanning: each claim is a rule.

Rules, paths and fingerprints stay the same from run to run, so that an alert is closed when its
claim passes and is not opened again when a line moves.
"""

from __future__ import annotations

from hashlib import sha256
from urllib.parse import quote

from pytest_circuits.report import words
from pytest_circuits.report.annotations import message_of
from pytest_circuits.report.record import dump
from pytest_circuits.report.run import Json, Run
from pytest_circuits.report.writing import Target

MOST = 5_000  # results of a run that GitHub keeps
_SPEC = "circuits/spec"


def sarif(run: Run, *, most: int = MOST) -> Json:
    rules = _rules(run)
    results = [*_refusals(run), *_claims(run)]
    ids = [rule["id"] for rule in rules]
    left_out = [f"{len(results) - most} more results"] if len(results) > most else []
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {"name": run.tool.name, "version": run.tool.version, "rules": rules}
                },
                "invocations": [
                    {
                        "executionSuccessful": not (run.problems or run.refused),
                        "toolExecutionNotifications": [
                            {"level": "error", "message": {"text": text}}
                            for text in [*run.problems, *left_out]
                        ],
                    }
                ],
                "columnKind": "unicodeCodePoints",
                "results": [
                    {**result, "ruleIndex": ids.index(result["ruleId"])}
                    for result in results[:most]
                ],
            }
        ],
    }


def make(run: Run, _: Target) -> bytes:
    return dump(sarif(run)).encode()


def _rules(run: Run) -> list[Json]:
    claims = dict.fromkeys(claim for circuit in run.circuits for claim in circuit.declared)
    claims |= dict.fromkeys(result.evidence.claim for result in run.results)
    found = {f"circuits/{claim}": run.meaning_of(claim).sentence for claim in claims}
    found[_SPEC] = "a specification can be used"
    return [
        {
            "id": name,
            "shortDescription": {"text": text},
            "help": {"text": text, "markdown": text},
            "defaultConfiguration": {"level": "error"},
            "properties": {"tags": ["circuits"]},
        }
        for name, text in sorted(found.items())
    ]


def _refusals(run: Run) -> list[Json]:
    return [
        _result(_SPEC, r.text, run.in_repository(r.spec), r.line, r.column, r.spec, r.text)
        for r in run.refusals
    ]


def _claims(run: Run) -> list[Json]:
    found = []
    for result in filter(lambda result: result.is_told, run.blocking):
        spec, place, claim = run.spec_of(result), result.place, result.evidence.claim
        state = words.plainly(words.state_of(result), many=False)
        message = message_of(result).removeprefix(f"{state}: ")  # a reason to skip begins with it
        text = f"{result.circuit}: {claim} {state}: {message}"
        where = run.in_repository(spec)
        identity = (spec, result.circuit, claim)
        found.append(_result(f"circuits/{claim}", text, where, place.line, place.column, *identity))
    return found


def _result(rule: str, text: str, file: str, line: int, column: int, *identity: str) -> Json:
    return {
        "ruleId": rule,
        "level": "error",
        "message": {"text": text},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(file), "uriBaseId": "%SRCROOT%"},
                    "region": {"startLine": line, "startColumn": column},
                }
            }
        ],
        "partialFingerprints": {
            "circuitClaim/v1": sha256("\0".join(identity).encode()).hexdigest()
        },
    }
