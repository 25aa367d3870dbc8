"""Waivers: a claim that does not pass may stand for a while, in the open, and no longer."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from pytest_circuits.claims.evidence import Counterexample, Evidence, Law, Verdict
from pytest_circuits.gate.settings import Settings, Update
from pytest_circuits.gate.state import Gate
from pytest_circuits.gate.waivers import waiver_for
from pytest_circuits.report.run import Waiver
from tests.plugin.conftest import Repository, spec_text
from tests.plugin.hostile import read, rendered
from tests.plugin.test_summary import CIRCUIT

TODAY = datetime(2026, 6, 30, 23, 59, tzinfo=UTC)
WAIVED = "waived until 2026-06-30: found in run 12; see #34"
PLACE = "circuits/quote_close.circuit.yaml:26:3"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every run be on one day."""
    monkeypatch.setattr("pytest_circuits.gate.session.now", TODAY.timestamp)


def write(
    repository: Repository,
    claim: str = "sufficient",
    *,
    until: str = "2026-06-30",
    claims: tuple[str, ...] = ("behaves", "sufficient"),
) -> Path:
    """Write a specification of which `sufficient` fails and `behaves` passes."""
    text = spec_text(claims=claims).replace("max_loss: 0.15", "max_loss: 0.000001")
    waiver = f'{{until: {until}, reason: "found in run 12; see #34"}}'
    return repository.write(
        "circuits/quote_close.circuit.yaml", f"{text}waivers:\n  {claim}: {waiver}\n"
    )


def record(repository: Repository) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((repository.path / "out.json").read_text())
    return found


def test_a_waived_claim_does_not_block_and_is_not_called_a_pass(repository: Repository) -> None:
    write(repository)

    result = repository.gate("--circuits-report=out.json", "--junitxml=junit.xml")

    assert result.ret == 0
    result.assert_outcomes(passed=1, xfailed=1)
    result.stdout.fnmatch_lines(
        [
            "pass     quote_close  behaves *",
            "waived   quote_close  sufficient *",
            f"    {WAIVED}",
            "refuted  quote_close  *failed: sufficient*",
            (
                "gate: PASS WITH 1 WAIVER for model (*) - 1 claim holds, 1 is waived "
                "(quote_close sufficient); it ends on 2026-06-30"
            ),
        ]
    )
    found = record(repository)
    assert found["verdict"] == "fail"
    assert [(claim["verdict"], claim["waived"]) for claim in found["circuits"][0]["claims"]] == [
        ("pass", None),
        ("fail", {"until": "2026-06-30", "reason": "found in run 12; see #34"}),
    ]
    suite = ET.parse(repository.path / "junit.xml").getroot()[0]  # noqa: S314
    assert (suite.attrib["failures"], suite.attrib["skipped"]) == ("0", "1")
    assert [skipped.attrib for skipped in suite.iter("skipped")] == [
        {"type": "pytest.xfail", "message": WAIVED}
    ]
    properties = {p.attrib["name"]: p.attrib["value"] for p in suite.iter("property")}
    assert properties["circuits.verdict"] == "fail"
    assert properties["circuits.waived"] == "2026-06-30"


def test_no_report_of_a_run_with_a_waiver_calls_it_a_pass(repository: Repository) -> None:
    write(repository)

    result = repository.gate(
        "--circuits-predicate=p.json", "--circuits-markdown=out.md", "--circuits-model-card=card.md"
    )

    assert result.ret == 0
    predicate = json.loads((repository.path / "p.json").read_text(encoding="utf-8"))
    assert predicate["result"] == "WARNED"
    assert predicate["warnedTests"] == [
        "circuits/quote_close.circuit.yaml::quote_close::sufficient"
    ]
    assert predicate["failedTests"] == []
    summary, card = (
        (repository.path / name).read_text(encoding="utf-8") for name in ("out.md", "card.md")
    )
    assert summary.startswith("## Circuits: ⚠️ 1 waiver\n")
    shown = read(rendered(card.partition("<!-- circuits:begin -->")[2]))
    assert "Made by pytest-circuits 0.1.0 for the model " in card
    for text, page in ((summary, read(rendered(summary))), (card, shown)):
        assert "| ⚠️ waived | `quote_close` | sufficient | " in text
        assert "❌" not in text
        assert f"quote_close sufficient: {WAIVED}; measured: its task loss is 0.0" in page
    assert "<summary>⚠️ <code>quote_close</code> sufficient: waived (" in summary
    assert "reason    its task loss is 0.0" in summary


def test_the_verdict_and_its_numbers_are_those_without_the_waiver(repository: Repository) -> None:
    spec = write(repository)
    repository.gate("--circuits-report=out.json")
    waived = record(repository)

    spec.write_text(spec.read_text().partition("waivers:")[0])
    repository.gate("--circuits-report=out.json")

    plain = record(repository)
    for found in (waived, plain):
        del found["run"]
        for name in ("waivers", "files"):  # what the specification says, and the digest of it
            found["circuits"][0].pop(name)
        found["circuits"][0]["claims"][1].pop("waived")
    assert waived == plain


def test_a_waiver_that_has_ended_fails_the_gate(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    write(repository, until="2026-06-29")

    result = repository.gate("--circuits-report=out.json")

    assert result.ret == 1
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "fail     quote_close  sufficient *",
            f"{PLACE}: the waiver of sufficient ended on 2026-06-29: remove it, or extend it *",
            "gate: FAIL * 1 does not hold (quote_close sufficient)",
            (
                "::error file=circuits/quote_close.circuit.yaml,line=26,col=3,title=waiver::"
                "the waiver of sufficient ended on 2026-06-29: remove it, or extend it by review"
            ),
        ]
    )
    assert record(repository)["circuits"][0]["claims"][1]["waived"] is None


def test_a_waiver_that_nothing_needs_fails_the_gate(repository: Repository) -> None:
    text = spec_text(claims=("behaves",)) + "waivers:\n"
    text += "  behaves: {until: 2027-01-01, reason: to be sure}\n"
    repository.write("circuits/quote_close.circuit.yaml", text)

    result = repository.gate("--circuits-report=out.json")

    assert result.ret == 1
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "pass * quote_close * behaves*",
            (
                "circuits/quote_close.circuit.yaml:*:3: the claim behaves passes without its "
                "waiver: remove the waiver"
            ),
            "gate: INCONCLUSIVE * there is a problem with the run",
        ]
    )
    assert record(repository)["circuits"][0]["claims"][0]["verdict"] == "pass"


def test_a_waiver_of_a_claim_that_is_not_declared_is_refused(repository: Repository) -> None:
    write(repository, "necessary")

    result = repository.gate()

    assert result.ret == 2
    result.stdout.fnmatch_lines(
        [f"*{PLACE}: claim 'necessary' is not declared: there is nothing to waive*"]
    )


@pytest.mark.parametrize(
    ("arguments", "state"),
    [
        (["-k", "behaves"], "*1 was deselected"),
        (["--setup-only"], "2 claims did not run"),
    ],
)
def test_a_waiver_does_not_cover_what_did_not_run(
    repository: Repository, arguments: list[str], state: str
) -> None:
    write(repository)

    result = repository.gate(*arguments)

    assert result.ret == 1
    result.stdout.fnmatch_lines([state])
    result.stdout.no_fnmatch_line("*WAIVER*")


@pytest.mark.parametrize(
    ("conftest", "row"),
    [
        (
            (
                "import pytest\n\ndef pytest_collection_modifyitems(items):\n"
                "    items[1].add_marker(pytest.mark.skip(reason='too slow'))\n"
            ),
            "skipped  quote_close  sufficient*",
        ),
        (
            (
                "import pytest\n\n@pytest.fixture(autouse=True)\ndef broken():\n"
                "    yield\n    raise RuntimeError('teardown')\n"
            ),
            "error    quote_close  sufficient*",
        ),
        (
            (
                "import pytest\n\n@pytest.hookimpl(wrapper=True)\ndef pytest_runtest_call(item):\n"
                "    try: yield\n    finally: raise RuntimeError('late')\n"
            ),
            "error    quote_close  sufficient*",
        ),
        (
            "def pytest_pyfunc_call(pyfuncitem): return True\n",
            "*the search for a counterexample did not run*",
        ),
    ],
)
def test_a_waiver_does_not_cover_a_claim_that_could_not_be_decided(
    repository: Repository, conftest: str, row: str
) -> None:
    write(repository)
    repository.write("circuits/conftest.py", conftest)

    result = repository.gate()

    assert result.ret == 1
    result.stdout.fnmatch_lines([row, "gate: *do not release*"])


def test_a_waiver_does_not_cover_a_missing_baseline(repository: Repository) -> None:
    write(repository, "stable", claims=("stable",))

    result = repository.gate()

    assert result.ret == 1
    result.stdout.fnmatch_lines(["fail * stable*", "gate: FAIL*"])


def test_no_baseline_is_recorded_from_a_run_with_a_waived_claim(repository: Repository) -> None:
    write(repository, claims=("sufficient", "stable"))

    result = repository.gate("--circuits-update=new")

    assert result.ret == 1
    assert not (repository.path / "circuits/quote_close.baseline.yaml").exists()
    result.stdout.fnmatch_lines(
        [
            "fail * sufficient*",
            "waivers do not count in a run that records baselines (--circuits-update)",
            "quote_close: no baseline was recorded: sufficient does not pass",
            "gate: FAIL*",
        ]
    )


def test_a_waiver_does_not_cover_the_selfcheck(repository: Repository) -> None:
    write(repository, claims=("sufficient",))

    result = repository.gate("--circuits-selfcheck=1")

    assert result.ret == 1
    result.stdout.fnmatch_lines(["waived * sufficient*", "fail * selfcheck*", "gate: FAIL*"])


def test_what_is_not_a_measurement_is_not_waived(pytestconfig: pytest.Config) -> None:
    nan = Counterexample("x", "a", "b", "y", ("x",), {"whole model": None}, {}, "not numbers")
    loss = {"delta_to_baseline": None, "task_loss": 0.1}

    settings = Settings(None, None, (), Update.NONE, {}, None)
    gate = Gate(config=pytestconfig, settings=settings, started=TODAY.timestamp())
    circuit = replace(CIRCUIT, waivers={"behaves": Waiver("2026-06-30", "why", "x:1:1")})
    failed = Evidence("behaves", Verdict.FAIL, "", measures=dict(loss))

    assert waiver_for(gate, circuit, failed) is circuit.waivers["behaves"]
    for evidence in (
        replace(failed, measures={}),
        replace(failed, measures={"task_loss": None}),
        replace(failed, law=Law(2, nan)),
    ):
        assert waiver_for(gate, circuit, evidence) is None
