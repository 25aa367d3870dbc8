"""What all files that a run is asked for have in common."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from pytest_circuits.gate.command_line import joined
from pytest_circuits.report import writing
from pytest_circuits.report.outputs import OUTPUTS
from pytest_circuits.system.files import write_atomic
from tests.plugin.conftest import Repository, spec_text

LATER = {"report": "json", "predicate": "json"}


@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_a_folder_is_a_usage_error(repository: Repository, name: str) -> None:
    result = repository.gate(f"--circuits-{name}=model")

    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: --circuits-{name}: model is a folder; name a file"])


def test_two_outputs_in_one_file_are_a_usage_error(repository: Repository) -> None:
    result = repository.gate("--circuits-report=out", "--circuits-sarif=./out")

    assert result.ret == 4
    result.stderr.fnmatch_lines(
        ["ERROR: --circuits-report and --circuits-sarif both name ./out; *"]
    )


@pytest.mark.parametrize("name", sorted(OUTPUTS.keys() - {"model-card"}))
@pytest.mark.parametrize("taken", ["model/model.safetensors", "circuits/quote_close.circuit.yaml"])
def test_a_file_that_is_no_output_is_never_replaced(
    repository: Repository, name: str, taken: str
) -> None:
    repository.write_good_spec(claims=("behaves",))
    before = (repository.path / taken).read_bytes()

    result = repository.gate(f"--circuits-{name}={taken}")

    assert result.ret == 4
    result.stderr.fnmatch_lines(
        [f"ERROR: --circuits-{name}: * is there already, and is no {name} *"]
    )
    assert (repository.path / taken).read_bytes() == before


@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_a_value_apart_is_not_taken_for_a_path_to_tests(name: str) -> None:
    assert joined([f"--circuits-{name}", "x"]) == [f"--circuits-{name}=x"]


def test_files_that_cannot_be_written_fail_the_gate_and_are_named_in_what_can(
    repository: Repository,
) -> None:
    repository.write("circuits/x.circuit.yaml", spec_text(claims=("behaves",)))
    repository.write("file", "not a folder")
    twins = [f"circuits_{n.replace('-', '_')} = file/{n}" for n in OUTPUTS if n not in LATER]
    repository.write("pytest.ini", "\n".join(["[pytest]", *twins]))

    result = repository.gate("--circuits-report=out.json", "--circuits-predicate=test.json")

    assert result.ret == 1
    failed = [f"file/{name}: cannot be written: *" for name in OUTPUTS if name not in LATER]
    result.stdout.fnmatch_lines_random([*failed, "evidence: out.json", "predicate: test.json"])
    assert '"result": "FAILED"' in (repository.path / "test.json").read_text()
    assert "file/metrics: cannot be written" in (repository.path / "out.json").read_text()


def test_of_a_refused_specification_is_written_what_says_so_and_no_evidence(
    repository: Repository,
) -> None:
    repository.write("circuits/bad.circuit.yaml", "version: 1\ncircit: x\n")
    repository.write("out/predicate", '{"passedTests": [], "result": "PASSED"}')

    result = repository.gate(*(f"--circuits-{name}=out/{name}" for name in OUTPUTS))

    assert result.ret == 2
    written = {
        path.name: path.read_text(encoding="utf-8") for path in repository.path.glob("out/*")
    }
    assert sorted(written) == ["html", "markdown", "predicate", "sarif"]
    for name in ("html", "markdown"):
        assert "gate: NO VERDICT - do not release" in written[name]
    made = json.loads(written["predicate"])
    assert (made["result"], made["failedTests"]) == ("FAILED", ["circuits/bad.circuit.yaml"])
    found = json.loads(written["sarif"])["runs"][0]
    assert {result["ruleId"] for result in found["results"]} == {"circuits/spec"}
    assert found["invocations"][0]["executionSuccessful"] is False


def test_a_run_that_is_refused_leaves_nothing_of_an_earlier_one_but_the_model_card(
    repository: Repository,
) -> None:
    repository.write("circuits/x.circuit.yaml", spec_text(claims=("behaves",)))
    options = [f"--circuits-{name}=out/{name}" for name in OUTPUTS]
    repository.gate(*options)
    before = sorted(path.name for path in repository.path.glob("out/*"))

    result = repository.gate("--circuits-model=absent", *options)

    assert result.ret == 4
    assert before == sorted(OUTPUTS)
    assert [path.name for path in repository.path.glob("out/*")] == ["model-card"]


def test_evidence_that_this_run_did_not_write_is_not_named(repository: Repository) -> None:
    repository.write("circuits/x.circuit.yaml", spec_text(claims=("behaves",)))
    options = [f"--circuits-{name}=out/{name}" for name in ("report", "metrics", "markdown")]
    repository.gate(*options)
    repository.write("broken/config.json", "{}")

    result = repository.gate("--circuits-model=broken", *options)

    assert result.ret == 2
    (left,) = repository.path.glob("out/*")
    assert left.name == "markdown"
    assert "evidence" not in left.read_text(encoding="utf-8")


def test_what_an_earlier_run_left_and_cannot_be_removed_is_a_usage_error(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.write("out.json", '{"seconds_by_claim": {}}')
    predicate = repository.write("test.json", '{"passedTests": [], "result": "PASSED"}')
    remove = type(predicate).unlink

    def refuse_one(path: Path) -> None:
        if path.name == "out.json":
            raise PermissionError(errno.EACCES, "Permission denied")
        remove(path)

    monkeypatch.setattr(type(predicate), "unlink", refuse_one)

    result = repository.gate("--circuits-report=out.json", "--circuits-predicate=test.json")

    assert result.ret == 4
    result.stderr.fnmatch_lines(
        ["ERROR: --circuits-report: out.json may be of an earlier run and cannot be removed: *"]
    )
    assert not predicate.exists()


@pytest.mark.parametrize("argument", ["--bogus", "--circuits-model", "--circuits-update=all"])
def test_arguments_that_pytest_refuses_leave_nothing_of_an_earlier_run(
    repository: Repository, argument: str
) -> None:
    repository.write("pytest.ini", "[pytest]\ncircuits_markdown = of_the_ini_file.md\n")
    repository.write_good_spec()
    outputs = ["--circuits-report=out.json", "--circuits-predicate", "out.in-toto"]
    assert repository.gate(*outputs).ret == 0

    result = repository.gate(*outputs, argument)

    assert result.ret == 4
    left = {path.name for path in repository.path.iterdir() if path.is_file()}
    assert left == {"pytest.ini"}


def test_a_conftest_that_cannot_be_loaded_leaves_nothing_of_an_earlier_run(
    repository: Repository,
) -> None:
    repository.write_good_spec()
    assert repository.gate("--circuits-report=out.json").ret == 0
    repository.write("conftest.py", "raise ImportError('torch is another one')\n")

    result = repository.gate("--circuits-report=out.json")

    assert result.ret == 4
    assert not (repository.path / "out.json").exists()


def test_listing_claims_writes_nothing(repository: Repository) -> None:
    repository.write_good_spec()
    options = [f"--circuits-{name}=out/{name}" for name in OUTPUTS]

    result = repository.gate("--collect-only", *options)

    assert result.ret == 0
    assert not (repository.path / "out").exists()


def verdicts(repository: Repository) -> dict[str, bool]:
    """Which of the files that are there say that the gate passed."""
    read = {path.name: path.read_text(encoding="utf-8") for path in repository.path.glob("out/*")}
    said = {
        "report": '"verdict": "pass",\n  "versions"',
        "predicate": '"result": "PASSED"',
        "metrics": '"gate.passed": 1',
        "sarif": '"executionSuccessful": true',
        "model-card": "gate: PASS",
        "markdown": "gate: PASS",
        "html": "gate: PASS",
    }
    return {name: said[name] in text for name, text in read.items()}


@pytest.mark.parametrize("failing", [None, "report", "model-card", "markdown"])
def test_whatever_file_cannot_be_written_the_others_agree_with_the_exit_status(
    repository: Repository, failing: str | None
) -> None:
    repository.write("circuits/x.circuit.yaml", spec_text(claims=("behaves",)))
    repository.write("file", "not a folder")
    options = [f"--circuits-{n}={'file' if n == failing else 'out'}/{n}" for n in OUTPUTS]

    result = repository.gate(*options)

    assert result.ret == (failing is not None)
    written = set(OUTPUTS) - {failing}
    assert verdicts(repository) == dict.fromkeys(written, failing is None)


def test_a_step_summary_is_appended_once_and_tells_what_could_not_be_written(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.write("circuits/bad.circuit.yaml", "version: 2\n")
    repository.write("file", "not a folder")
    summary = repository.write("step.md", "")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))

    repository.gate("--circuits-sarif=file/sarif", "--circuits-markdown=step.md")

    text = summary.read_text(encoding="utf-8")
    assert text.count("## Circuits") == text.count("file/sarif: cannot be written") == 1


def test_what_cannot_be_written_again_does_not_stay_as_it_was(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.write("circuits/bad.circuit.yaml", "version: 2\n")
    room = iter([True, False, False])

    def write_where_there_is_room(path: Path, content: bytes) -> None:
        if not next(room):
            raise OSError(errno.ENOSPC, "No space left on device")
        write_atomic(path, content)

    monkeypatch.setattr(writing, "write_atomic", write_where_there_is_room)

    result = repository.gate("--circuits-sarif=out.sarif", "--circuits-markdown=out.md")

    assert result.ret == 2
    result.stdout.fnmatch_lines([f"out.{n}: cannot be written: No space*" for n in ("md", "sarif")])
    assert not (repository.path / "out.sarif").exists()
