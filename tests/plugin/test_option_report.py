"""`--circuits-report`: the evidence record on disk, and JUnit's properties beside it."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree as ET

from tests.plugin.conftest import FOUR, Repository, spec_text


def record(repository: Repository, name: str = "out.json") -> dict[str, Any]:
    """The record that a run wrote."""
    loaded: dict[str, Any] = json.loads((repository.path / name).read_text())
    return loaded


def test_the_record_has_the_documented_fields(repository: Repository) -> None:
    repository.write_good_spec()

    result = repository.gate("--circuits-report=out.json")

    assert result.ret == 0
    found = record(repository)
    assert sorted(found) == [
        "baseline", "circuits", "claims", "device", "model", "refusals", "refused", "run",
        "schema_version", "tool", "verdict", "versions",
    ]  # fmt: skip
    assert (found["schema_version"], found["verdict"], found["device"]) == (1, "pass", "cpu")
    assert found["model"]["path"] == "model"
    (circuit,) = found["circuits"]
    assert sorted(circuit) == [
        *("aimless", "baseline", "claims", "declared", "description", "device", "digest"),
        *("drawing", "edges", "files", "grade", "heat", "lax", "left_out", "matched", "model"),
        *("name", "nodes", "reference_digest", "rivals", "spec", "waivers"),
    ]
    assert (circuit["name"], circuit["spec"]) == (
        "quote_close",
        "circuits/quote_close.circuit.yaml",
    )
    assert [claim["claim"] for claim in circuit["claims"]] == ["behaves", "sufficient", "necessary"]
    fields = [
        *("claim", "controls", "curves", "law", "measures", "nodeid", "rate", "reason", "state"),
        *("under", "verdict", "waived", "why", "worst"),
    ]
    assert all(sorted(claim) == fields for claim in circuit["claims"])
    assert [claim["under"] for claim in circuit["claims"]] == [{}, *[{"mean": "pass"}] * 2]
    assert [claim["rate"]["at_most"] for claim in circuit["claims"]] == [False, False, True]
    assert {name: found["claims"][name]["at_most"] for name in ("behaves", "necessary")} == {
        "behaves": False,
        "necessary": True,
    }
    result.stdout.fnmatch_lines(["evidence: out.json"])


def test_the_record_counts_the_edges_that_are_listed_and_in_the_model(
    repository: Repository,
) -> None:
    text = spec_text(claims=("behaves",))
    listed = "edges: {0.attn.act_in -> 0.attn.k: [[0, 0], [1, 0]]}"
    repository.write("circuits/quote_close.circuit.yaml", text)
    repository.gate("--circuits-report=every.json")
    repository.write("circuits/quote_close.circuit.yaml", f"{text}{listed}\n")

    repository.gate("--circuits-report=listed.json")

    (every,), (some,) = (record(repository, f"{n}.json")["circuits"] for n in ("every", "listed"))
    assert (every["edges"], some["edges"]) == (3, 1)
    assert every["digest"] != some["digest"]


def test_edges_that_no_weight_carries_are_refused_with_their_line(repository: Repository) -> None:
    text = spec_text() + "edges: {0.attn.q -> 0.attn.resid_delta: [[0, 2]]}\n"
    repository.write("circuits/quote_close.circuit.yaml", text)

    result = repository.gate()

    assert result.ret == 2
    result.stdout.fnmatch_lines(
        [f"*.circuit.yaml:{text.count(chr(10))}:9: no weight leads from '0.attn.q' to '0.attn.*"]
    )


def test_two_runs_give_the_same_bytes_apart_from_run(repository: Repository) -> None:
    repository.write_bad_spec()

    repository.gate("--circuits-report=one.json")
    repository.gate("--circuits-report=two.json")

    one, two = record(repository, "one.json"), record(repository, "two.json")
    del one["run"], two["run"]
    assert json.dumps(one) == json.dumps(two)


def test_the_record_holds_no_absolute_path(repository: Repository) -> None:
    repository.write_bad_spec()
    model = str(repository.path / "model")

    repository.gate("--circuits-model", model, "--circuits-report=out.json")

    text = (repository.path / "out.json").read_text()
    assert str(repository.path) not in text
    assert record(repository)["model"]["path"] == "model"


def test_a_failing_claim_has_its_counterexample_in_the_record(repository: Repository) -> None:
    repository.write_bad_spec()

    repository.gate("--circuits-report=out.json")

    sufficient = record(repository)["circuits"][0]["claims"][1]
    assert sufficient["verdict"] == "fail"
    assert sufficient["law"]["counterexample"]["prompt"].startswith("x = ")


def test_a_deselected_claim_is_in_the_record(repository: Repository) -> None:
    repository.write_good_spec()

    repository.gate("-k", "behaves", "--circuits-report=out.json")

    found = record(repository)
    assert found["verdict"] == "inconclusive"
    verdicts = [claim["verdict"] for claim in found["circuits"][0]["claims"]]
    assert verdicts == ["pass", "inconclusive", "inconclusive"]


def test_a_run_that_records_is_not_a_pass_in_the_record(repository: Repository) -> None:
    repository.write_good_spec(claims=FOUR)

    repository.gate("--circuits-update=new", "--circuits-report=out.json")

    found = record(repository)
    assert found["verdict"] == "inconclusive"
    assert found["run"]["baselines_recorded"] == ["circuits/quote_close.baseline.yaml"]


def test_nothing_is_written_when_a_specification_is_refused(repository: Repository) -> None:
    repository.write_good_spec()
    repository.write("circuits/bad.circuit.yaml", "version: 2\n")

    result = repository.gate("--circuits-report=out.json")

    assert result.ret == 2
    assert not (repository.path / "out.json").exists()


def test_a_report_that_cannot_be_written_fails_the_gate(repository: Repository) -> None:
    repository.write_good_spec()
    repository.write("file", "not a folder")

    result = repository.gate("--circuits-report=file/out.json")

    assert result.ret == 1
    result.stdout.fnmatch_lines(["file/out.json: cannot be written: *"])


def test_a_folder_as_report_is_a_usage_error(repository: Repository) -> None:
    repository.write_good_spec()

    result = repository.gate("--circuits-report=circuits")

    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: --circuits-report: circuits is a folder; name a file"])


def test_the_ini_twin_names_the_report(repository: Repository) -> None:
    repository.write_good_spec()
    repository.write("pytest.ini", "[pytest]\ncircuits_report = deep/out.json\n")

    repository.gate()

    assert record(repository, "deep/out.json")["verdict"] == "pass"


def test_junit_properties_are_scalars_of_each_claim(repository: Repository) -> None:
    repository.write_good_spec()

    repository.gate("--junitxml=junit.xml")

    case = ET.parse(repository.path / "junit.xml").getroot().find(".//testcase")  # noqa: S314
    assert case is not None
    found = {p.attrib["name"]: p.attrib["value"] for p in case.iter("property")}
    assert found == {
        "circuits.claim": "behaves",
        "circuits.estimate": "1.0",
        "circuits.lower": "1.0",
        "circuits.n": "32",
        "circuits.threshold": "0.98",
        "circuits.upper": "1.0",
        "circuits.verdict": "pass",
    }


def test_junit_holds_the_failure_text(repository: Repository) -> None:
    repository.write_bad_spec()

    repository.gate("--junitxml=junit.xml")

    failure = ET.parse(repository.path / "junit.xml").getroot().find(".//failure")  # noqa: S314
    assert failure is not None
    assert failure.text is not None
    assert "reproduce pytest --circuits" in failure.text
    assert failure.attrib["message"].startswith("sufficient: ")
