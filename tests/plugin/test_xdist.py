"""Under xdist the workers run claims, and the controller alone decides."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from pytest_circuits.gate.bookkeeping import WORKER, merge_worker
from pytest_circuits.gate.settings import read_settings
from pytest_circuits.gate.state import Gate
from pytest_circuits.gate.verdict import decide
from pytest_circuits.report.run import File
from tests.plugin.conftest import Repository, spec_text
from tests.plugin.test_summary import CIRCUIT

pytest.importorskip("xdist")


def test_workers_give_the_same_evidence_as_one_process(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended_for_workers = datetime(2001, 1, 1, tzinfo=UTC)  # if they asked their own clocks
    monkeypatch.setattr("pytest_circuits.gate.session.now", ended_for_workers.timestamp)
    monkeypatch.delenv("PYTEST_XDIST_WORKER_COUNT", raising=False)  # of the processes of this suite
    waived = repository.write_bad_spec()
    waived.write_text(
        waived.read_text() + "waivers: {sufficient: {until: 2001-01-01, reason: see 34}}\n"
    )
    repository.write_good_spec()
    text = spec_text(name="runs_compiled", claims=("behaves", "sufficient"))
    many = "{words: {count: [1, 4], from: [alpha, beta, gamma, delta]}}"
    text = text.replace("{choice: [alpha, beta, gamma, delta]}", many)
    repository.write(
        "circuits/runs_compiled.circuit.yaml", text.replace("pairs: 100", "pairs: 250")
    )

    alone = repository.gate("--circuits-report=alone.json", "--circuits-predicate=alone.in-toto")
    together = repository.gate(
        "-n2", "--circuits-report=together.json", "--circuits-predicate=together.in-toto"
    )

    assert (alone.ret, together.ret) == (0, 0)
    alone.stdout.fnmatch_lines(["  threads * 1"])
    together.stdout.fnmatch_lines(["  threads * 1 in each of 2 processes", "gate: PASS WITH 1 W*"])
    records = [
        json.loads((repository.path / f"{n}.json").read_text()) for n in ("alone", "together")
    ]
    assert records[0].pop("run") != records[1].pop("run")
    assert records[0] == records[1]
    signed = [
        json.loads((repository.path / f"{n}.in-toto").read_text()) for n in ("alone", "together")
    ]
    configurations = [one.pop("configuration")[:-1] for one in signed]  # without the records
    assert configurations[0] == configurations[1]
    assert signed[0] == signed[1]


def test_failures_and_deselection_in_workers_reach_the_controller(repository: Repository) -> None:
    repository.write_bad_spec()
    repository.write_good_spec()

    result = repository.gate("-n1", "-k", "sufficient")

    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "*prompt *x = *",
            "fail * weak_path * sufficient*",
            "3 claims were deselected*",
            "gate: FAIL*of 5 claims*",
        ]
    )


def test_a_file_that_changed_between_two_workers_is_a_problem(repository: Repository) -> None:
    repository.write_good_spec(claims=("behaves",))
    config = repository.pytester.parseconfigure("--circuits")
    gate = Gate(config, read_settings(config), started=0.0)
    file = File("model/config.json", "model", "a" * 64)
    circuits = [replace(CIRCUIT, files=(replace(file, sha256=digest),)) for digest in "aab"]
    handed = [{"circuits": [asdict(c)], "expected": [], "deselected": []} for c in circuits]

    for output in handed[:2]:
        merge_worker(gate, SimpleNamespace(workeroutput={WORKER: output}))
    before = decide(gate).problems
    merge_worker(gate, SimpleNamespace(workeroutput={WORKER: handed[2]}))

    assert before == ()
    assert decide(gate).problems == (
        "circuit quote_close: a file that it depends on changed while the gate ran",
    )


def test_a_worker_that_crashes_fails_the_gate(repository: Repository) -> None:
    repository.write_good_spec()
    repository.write(
        "circuits/conftest.py",
        "import os, pytest\n\n@pytest.fixture(autouse=True)\ndef crash(request):\n"
        "    if request.node.name == 'necessary':\n        os._exit(1)\n",
    )

    result = repository.gate("-n1")

    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["error * quote_close * necessary*", "*an error in its run, *", "gate: FAIL*"]
    )


def test_a_bad_specification_ends_with_status_2_and_is_marked(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    repository.write_good_spec()
    repository.write("circuits/bad.circuit.yaml", "version: 2\n")

    result = repository.gate("-n1")

    assert result.ret == 2
    assert "Traceback" not in result.stdout.str()
    result.stdout.fnmatch_lines(["::error file=circuits/bad.circuit.yaml,line=1,col=10,title=*"])


def test_an_empty_folder_is_a_usage_error(repository: Repository) -> None:
    (repository.path / "circuits").mkdir()

    result = repository.gate("-n2")

    assert result.ret == 4
    assert "INTERNALERROR" not in result.stdout.str()


def test_the_controller_writes_baselines(repository: Repository) -> None:
    repository.write_good_spec(claims=("behaves", "sufficient", "necessary", "stable"))

    first = repository.gate("-n1", "--circuits-update=new")
    second = repository.gate()

    assert (first.ret, second.ret) == (0, 0)
    first.stdout.fnmatch_lines(["gate: BASELINE RECORDED*"])
    second.stdout.fnmatch_lines(["gate: PASS*"])


def test_without_xdist_the_gate_works(repository: Repository) -> None:
    repository.write_good_spec()

    result = repository.gate("-p", "no:xdist")

    assert result.ret == 0
