"""The `circuits` section: one aligned row per claim, and the verdict in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_circuits.claims.evidence import Evidence, Rate, Verdict
from pytest_circuits.gate.provenance import glossary
from pytest_circuits.report.run import Artifact, Circuit, Result, Run, State
from pytest_circuits.report.terminal import summary, verdict_line
from pytest_circuits.report.words import points, share

SAMPLED = Rate(estimate=0.994, lower=0.981, upper=1.0, threshold=0.95, n=500, exhaustive=False)
WHOLE = Rate(0.5, 0.5, 0.5, threshold=0.65, n=24, exhaustive=True, at_most=True)
CIRCUIT = Circuit(
    name="quote_close",
    spec="circuits/quote_close.circuit.yaml",
    digest="d" * 64,
    declared=("behaves", "necessary"),
    nodes=7,
    edges=3,
    reference_digest="e" * 64,
    model=Artifact("models/tiny", "a" * 64),
    baseline=None,
    device="cpu",
)
BEHAVES = Result(
    nodeid="circuits/quote_close.circuit.yaml::quote_close::behaves",
    circuit="quote_close",
    evidence=Evidence("behaves", Verdict.PASS, "well", rate=SAMPLED),
    state=State.RAN,
)
NECESSARY = Result(
    nodeid="circuits/quote_close.circuit.yaml::quote_close::necessary",
    circuit="quote_close",
    evidence=Evidence(
        "necessary", Verdict.PASS, "well", rate=WHOLE, measures={"delta_to_baseline": -0.0123}
    ),
    state=State.RAN,
)
GOOD = Run(circuits=(CIRCUIT,), results=(BEHAVES, NECESSARY), claims=glossary())


def text_of(run: Run, *, verbose: bool = False, ascii_only: bool = False) -> list[str]:
    """The lines of the section, without colours."""
    lines = summary(run, width=80, verbose=verbose, ascii_only=ascii_only)
    return ["".join(span.text for span in line) for line in lines]


def with_verdict(result: Result, verdict: Verdict, state: State = State.RAN) -> Result:
    """The same claim, with another verdict."""
    evidence = replace(result.evidence, verdict=verdict, reason=f"because of {verdict}")
    return replace(result, evidence=evidence, state=state)


def test_each_claim_has_one_aligned_row() -> None:
    assert text_of(GOOD) == [
        "verdict  circuit      claim      observed           bound               n  Δ baseline",
        "pass     quote_close  behaves    99.4 % (≥ 98.1 %)  ≥ 95.0 %          500           -",
        "pass     quote_close  necessary  50.0 %             ≤ 65.0 %  whole space        -1.2",
        "",
        "grade    circuit      evidence",
        "partial  quote_close  2 claims hold, 1 by proof, 1 by sample; not declared:",
        "                      sufficient, stable",
        "",
        "warning: core claims are not declared, and so not tested: quote_close",
        "(sufficient, stable)",
        "gate: PASS for models/tiny (aaaaaaaaaaaa) - 2 claims about 1 circuit hold",
    ]


def test_a_terminal_without_unicode_gets_ascii() -> None:
    assert all(line.isascii() for line in text_of(GOOD, ascii_only=True))


def test_reasons_are_shown_on_request() -> None:
    assert "    well" in text_of(GOOD, verbose=True)


def test_a_claim_that_does_not_pass_says_why_in_a_few_words_below_its_row() -> None:
    failed = with_verdict(NECESSARY, Verdict.FAIL)
    told = replace(failed, evidence=replace(failed.evidence, why="the rate is too high"))

    assert text_of(replace(GOOD, results=(BEHAVES, told)))[3] == "    the rate is too high"


def test_one_that_says_nothing_shorter_shows_how_its_reason_begins() -> None:
    failed = with_verdict(NECESSARY, Verdict.FAIL)
    reason = (
        "the eleventh of its many words is wrong on every prompt of this long sentence; and more"
    )
    told = replace(failed, evidence=replace(failed.evidence, reason=reason))

    line = text_of(replace(GOOD, results=(BEHAVES, told)))[3]

    assert line == "    the eleventh of its many words is wrong on every prompt of…"


def test_a_claim_that_did_not_run_says_why_below_its_row() -> None:
    skipped = with_verdict(NECESSARY, Verdict.INCONCLUSIVE, State.SKIPPED)

    lines = text_of(replace(GOOD, results=(BEHAVES, skipped)))

    assert lines[2].startswith("skipped  quote_close  necessary")
    assert lines[3] == "    because of inconclusive"


def test_the_verdict_names_what_does_not_hold() -> None:
    failing = with_verdict(NECESSARY, Verdict.FAIL)

    line = verdict_line(replace(GOOD, results=(BEHAVES, failing)))

    assert line == (
        "gate: FAIL for models/tiny (aaaaaaaaaaaa) - do not release: "
        "of 2 claims, 1 does not hold (quote_close necessary)"
    )


def test_an_undecided_claim_makes_the_gate_inconclusive() -> None:
    undecided = with_verdict(NECESSARY, Verdict.INCONCLUSIVE)

    line = verdict_line(replace(GOOD, results=(BEHAVES, undecided)))

    assert line.startswith("gate: INCONCLUSIVE")
    assert line.endswith("of 2 claims, 1 is not decided (quote_close necessary)")


def test_a_problem_keeps_a_run_from_passing() -> None:
    run = replace(GOOD, problems=("x.circuit.yaml: was not collected",))

    assert not run.green
    assert text_of(run)[-2:] == [
        "x.circuit.yaml: was not collected",
        (
            "gate: INCONCLUSIVE for models/tiny (aaaaaaaaaaaa) - do not release: "
            "there is a problem with the run"
        ),
    ]


def test_a_recorded_baseline_is_green_and_no_pass() -> None:
    recorded = with_verdict(NECESSARY, Verdict.INCONCLUSIVE, State.RECORDED)
    run = replace(GOOD, results=(BEHAVES, recorded))

    assert run.green
    assert run.verdict is Verdict.INCONCLUSIVE
    assert verdict_line(run).startswith("gate: BASELINE RECORDED")


def test_a_run_of_nothing_is_not_green() -> None:
    nothing = Run(circuits=(), results=())

    assert not nothing.green
    assert nothing.verdict is Verdict.INCONCLUSIVE


def test_text_of_a_file_cannot_steer_the_terminal() -> None:
    hostile = replace(BEHAVES, circuit="a\x1b[31m\u202eb")

    lines = text_of(replace(GOOD, results=(hostile,)))

    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1.0, "100.0 %"),
        (0.9999, "99.9 %"),
        (0.0001, "0.1 %"),
        (0.0, "0.0 %"),
        (-0.02, "-2.0 %"),
        (None, "-"),
    ],
)
def test_shares_are_never_rounded_to_all_or_nothing(value: float | None, shown: str) -> None:
    assert share(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "-"), (0.0, "0.0"), (-0.00001, "0.0"), (0.012, "+1.2")]
)
def test_differences_have_a_sign(value: float | None, shown: str) -> None:
    assert points(value) == shown


def test_a_refused_specification_leaves_no_verdict() -> None:
    waiting = with_verdict(BEHAVES, Verdict.INCONCLUSIVE, State.NOT_RUN)
    run = replace(GOOD, results=(waiting,), refused=("circuits/bad.circuit.yaml",))

    assert not run.green
    assert text_of(run) == ["gate: NO VERDICT - do not release: 1 specification cannot be used"]
