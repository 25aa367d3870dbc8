"""`--circuits-sarif`: a log that code scanning takes, checked against the schema of SARIF 2.1.0."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.report.run import Place, State
from pytest_circuits.report.sarif import sarif
from tests.plugin.conftest import Repository, spec_text
from tests.plugin.hostile import HOSTILE, many_failing
from tests.plugin.test_summary import BEHAVES, GOOD, NECESSARY, with_verdict

# As published by SchemaStore (Apache-2.0), unchanged.
SCHEMA = Path(__file__).parent / "schemas" / "sarif-2.1.0.json"


@cache
def validator() -> jsonschema.Draft7Validator:
    """The published schema."""
    return jsonschema.Draft7Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def only_run(log: dict[str, Any]) -> dict[str, Any]:
    """The run of a log, which has to be valid."""
    assert [error.message for error in validator().iter_errors(log)] == []
    (run,) = log["runs"]
    assert isinstance(run, dict)
    return run


def place(result: dict[str, Any]) -> tuple[str, int, int]:
    """File, line and column of a result."""
    physical = result["locations"][0]["physicalLocation"]
    region = physical["region"]
    return physical["artifactLocation"]["uri"], region["startLine"], region["startColumn"]


def test_a_claim_that_fails_is_a_result_at_its_line(repository: Repository) -> None:
    path = repository.write_bad_spec()
    line = path.read_text().splitlines().index("  sufficient: {rate: 0.95, max_loss: 0.15}") + 1

    repository.gate("--circuits-sarif=out/circuits.sarif")

    run = only_run(json.loads((repository.path / "out/circuits.sarif").read_text()))
    (result,) = run["results"]
    rules = run["tool"]["driver"]["rules"]
    assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == "circuits/sufficient"
    assert place(result) == ("circuits/weak_path.circuit.yaml", line, 3)
    assert result["message"]["text"].startswith("weak_path: sufficient does not hold: the circuit")
    assert run["invocations"][0]["executionSuccessful"] is True


def test_a_claim_that_did_not_run_for_the_fault_of_another_specification_is_no_result(
    repository: Repository,
) -> None:
    repository.write_good_spec()
    repository.write("circuits/typo.circuit.yaml", spec_text(name="typo") + "nods: {}\n")
    options = ("--circuits-sarif=out.sarif", "--circuits-markdown=out.md")

    refused = repository.gate(*options)
    of_refused = only_run(json.loads((repository.path / "out.sarif").read_text()))
    part = repository.gate(*options, "circuits/quote_close.circuit.yaml", "-k", "behaves")
    of_part = only_run(json.loads((repository.path / "out.sarif").read_text()))

    assert (refused.ret, part.ret) == (2, 1)
    assert {result["ruleId"] for result in of_refused["results"]} == {"circuits/spec"}
    assert of_part["results"] == []
    (notice,) = of_part["invocations"][0]["toolExecutionNotifications"]
    assert notice["message"]["text"].startswith("2 claims were deselected (-k, ")


def test_why_a_claim_was_skipped_is_said_once() -> None:
    skipped = with_verdict(NECESSARY, Verdict.INCONCLUSIVE, State.SKIPPED)
    evidence = replace(skipped.evidence, reason="was skipped: too slow")
    run = replace(GOOD, results=(BEHAVES, replace(skipped, evidence=evidence)))

    (result,) = only_run(sarif(run))["results"]

    assert result["message"]["text"] == "quote_close: necessary was skipped: too slow"


def test_a_run_that_passes_has_no_results_and_closes_its_alerts() -> None:
    run = only_run(sarif(GOOD))

    assert run["results"] == []
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == [
        "circuits/behaves",
        "circuits/necessary",
        "circuits/spec",
    ]


def test_an_alert_stays_the_same_when_its_line_moves() -> None:
    run = replace(HOSTILE, refused=(), refusals=())
    moved = replace(run.results[1], place=Place("elsewhere", 99, 1))

    logs = [run, replace(run, results=(run.results[0], moved))]
    before, after = (only_run(sarif(log))["results"][0] for log in logs)

    assert before["partialFingerprints"] == after["partialFingerprints"]
    assert place(before)[1:] != place(after)[1:]


def test_hostile_names_make_a_valid_log() -> None:
    refused, failing = only_run(sarif(HOSTILE))["results"]

    assert refused["ruleId"] == "circuits/spec"
    assert place(refused) == ("circuits/a%2Cb%3Ac.circuit.yaml", 3, 5)
    assert place(failing)[0] == "circuits/%7C%2C%60%3Cb%3E.circuit.yaml"


def test_no_more_results_than_are_kept() -> None:
    run = only_run(sarif(many_failing(5), most=4))

    assert len(run["results"]) == 4
    (notice,) = run["invocations"][0]["toolExecutionNotifications"]
    assert notice["message"]["text"] == "1 more results"
