"""`--circuits-predicate`: an in-toto test result that names the bytes that were evaluated."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor

from pytest_circuits.gate.outputs import address
from pytest_circuits.report.predicate import predicate
from pytest_circuits.report.run import File, State
from tests.plugin.conftest import FOUR, Repository
from tests.plugin.hostile import HOSTILE
from tests.plugin.test_summary import BEHAVES, CIRCUIT, GOOD, NECESSARY, with_verdict

GITHUB = {
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "owner/name",
    "GITHUB_RUN_ID": "7",
}


def checked(made: dict[str, Any]) -> dict[str, Any]:
    """A predicate that in-toto's own types read without loss and find valid."""
    message = ParseDict(made, test_result_pb2.TestResult())
    assert made["result"] in {"PASSED", "WARNED", "FAILED"}
    for descriptor in message.configuration:
        ResourceDescriptor.copy_from_pb(descriptor).validate()
    again = MessageToDict(message)
    assert {name: value for name, value in made.items() if value} == again
    return made


def read(repository: Repository, name: str = "out.json") -> dict[str, Any]:
    return checked(json.loads((repository.path / name).read_text()))


def test_everything_that_was_evaluated_is_listed_with_its_digest(repository: Repository) -> None:
    repository.write_good_spec(claims=FOUR)
    repository.gate("--circuits-update=new")

    result = repository.gate("--circuits-predicate=out.json", "--circuits-report=evidence.json")

    assert result.ret == 0
    found = read(repository)
    assert found["result"] == "PASSED"
    start = "circuits/quote_close.circuit.yaml::quote_close::"
    assert found["passedTests"] == [f"{start}{claim}" for claim in FOUR]
    assert found["failedTests"] == found["warnedTests"] == []
    tool, *files = found["configuration"]
    assert tool["uri"] == "pkg:pypi/pytest-circuits@0.1.0"
    listed = {entry["name"]: entry["annotations"]["role"] for entry in files}
    assert listed == {
        "circuits/quote_close.baseline.yaml": "baseline",
        "circuits/quote_close.circuit.yaml": "specification",
        "model/config.json": "model",
        "model/model.safetensors": "model",
        "model/reference.safetensors": "model",
        "model/tokenizer.json": "model",
        "evidence.json": "evidence",
    }
    for entry in files:
        content = (repository.path / entry["name"]).read_bytes()
        assert entry["digest"] == {"sha256": sha256(content).hexdigest()}


def test_a_candidate_and_a_baseline_model_are_both_listed(repository: Repository) -> None:
    repository.write_good_spec(claims=("stable",))
    (repository.path / "base").symlink_to(repository.path / "model")

    repository.gate("--circuits-baseline=base", "--circuits-predicate=out.json")

    roles = {
        entry["name"]: entry["annotations"]["role"] for entry in read(repository)["configuration"]
    }
    assert (
        roles["base/model.safetensors"] == roles["base/reference.safetensors"] == "baseline model"
    )
    assert roles["model/model.safetensors"] == roles["model/reference.safetensors"] == "model"


def test_a_run_that_cannot_begin_removes_the_predicate_of_an_earlier_one(
    repository: Repository,
) -> None:
    repository.write_good_spec()
    repository.write("out.json", '{"passedTests": [], "result": "PASSED"}')
    repository.write("precious.json", "{}")

    results = [
        repository.gate(f"--circuits-predicate={name}.json", "absent")
        for name in ("out", "precious")
    ]

    assert [result.ret for result in results] == [4, 4]
    assert not (repository.path / "out.json").exists()
    assert (repository.path / "precious.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--circuits-model=absent"], "ERROR: --circuits-model: there is no folder 'absent'*"),
        (["--circuits-device="], "ERROR: --circuits-device is empty; *"),
        (["--circuits-update=new"], "ERROR: --circuits-update=new is refused under CI, *"),
    ],
)
def test_a_command_line_that_is_refused_removes_it_too_and_a_listing_does_not(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.setenv("CI", "true")
    repository.write("pytest.ini", "[pytest]\ncircuits_predicate = out.json\n")
    path = repository.write("out.json", '{"passedTests": [], "result": "PASSED"}')

    listing = repository.gate("--collect-only", *arguments)
    kept = path.exists()
    result = repository.gate(*arguments)

    assert (listing.ret, result.ret) == (4, 4)
    result.stderr.fnmatch_lines([message])
    assert (kept, path.exists()) == (True, False)


def test_only_a_run_that_passes_is_passed() -> None:
    recorded = with_verdict(NECESSARY, NECESSARY.verdict, State.RECORDED)
    undecided = with_verdict(NECESSARY, HOSTILE.verdict.INCONCLUSIVE, State.RECORDED)
    runs = {
        "good": GOOD,
        "a problem": replace(GOOD, problems=("not collected",)),
        "recorded": replace(GOOD, results=(BEHAVES, undecided)),
        "nothing": replace(GOOD, results=()),
        "hostile": HOSTILE,
    }

    made = {name: checked(predicate(run)) for name, run in runs.items()}

    assert recorded.verdict.value == "pass"
    results = {name: found["result"] for name, found in made.items()}
    assert results == {**dict.fromkeys(runs, "FAILED"), "good": "PASSED"}
    assert made["recorded"]["passedTests"] == [BEHAVES.nodeid]


def test_the_run_is_linked_where_the_pipeline_has_an_address() -> None:
    def linked(environment: dict[str, str]) -> str | None:
        made = checked(predicate(replace(GOOD, url=address(environment))))
        return made.get("url")

    assert linked(GITHUB) == "https://github.com/owner/name/actions/runs/7"
    assert linked({"CI_JOB_URL": "https://gitlab.com/jobs/7"}) == "https://gitlab.com/jobs/7"
    assert linked({"GITHUB_RUN_ID": "7"}) is None


def test_a_file_that_two_circuits_read_is_listed_once_and_one_that_changed_twice() -> None:
    file = File("model/config.json", "model", "a" * 64)
    other = replace(CIRCUIT, name="other", files=(file, replace(file, sha256="b" * 64)))
    run = replace(GOOD, circuits=(replace(CIRCUIT, files=(file,)), other))

    made = checked(predicate(run))

    digests = [entry["digest"]["sha256"][0] for entry in made["configuration"][1:]]
    assert digests == ["a", "b"]
