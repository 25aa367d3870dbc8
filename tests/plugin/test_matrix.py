"""The summary of many claims: a matrix that fits on one screen, and all that does not pass."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.report.matrix import matrix
from pytest_circuits.report.run import Run, State, Waiver
from pytest_circuits.report.terminal import summary
from tests.plugin.conftest import Repository
from tests.plugin.test_summary import BEHAVES, CIRCUIT, GOOD, NECESSARY, with_verdict

NAMES = tuple(f"set_or_string_fixed_{number:02}" for number in range(20))
SCREEN = 24  # lines of a small terminal
ESCAPE = "\x1b["


def of_twenty() -> Run:
    """Twenty circuits with nine claims each, and one that is not made."""
    made = {
        name: tuple(k for k in GOOD.claims if k != "selfcheck" and (name, k) != (NAMES[3], "blind"))
        for name in NAMES
    }
    circuits = tuple(replace(CIRCUIT, name=name, declared=made[name]) for name in NAMES)
    results = tuple(
        replace(BEHAVES, circuit=name, evidence=replace(BEHAVES.evidence, claim=claim))
        for name in NAMES
        for claim in made[name]
    )
    return replace(GOOD, circuits=circuits, results=results)


def text_of(run: Run, *, width: int = 80, verbose: bool = False, ascii_only: bool = False) -> str:
    lines = summary(run, width=width, verbose=verbose, ascii_only=ascii_only)
    return "\n".join("".join(span.text for span in line) for line in lines)


def test_twenty_circuits_that_pass_fit_on_one_small_screen() -> None:
    lines = text_of(of_twenty()).splitlines()

    assert len(lines) + 2 <= SCREEN  # with the title of the section and pytest's last line
    assert max(map(len, lines)) <= 80
    assert lines[1].startswith(f"{NAMES[0]} pass pass pass")
    assert lines[-1].startswith("gate: PASS")


def test_a_wide_terminal_has_whole_names_and_a_dot_for_what_is_not_claimed() -> None:
    lines = text_of(of_twenty(), width=160).splitlines()

    for claim in matrix(of_twenty()).claims:
        assert f"  {claim} " in lines[0]
    assert lines[4][lines[0].index("blind")] == "."


def test_a_narrow_terminal_cuts_the_names() -> None:
    assert text_of(of_twenty(), width=62).splitlines()[1].split()[0].endswith("…")
    assert text_of(of_twenty(), width=70, ascii_only=True).isascii()


def test_the_numbers_are_shown_on_request() -> None:
    assert "99.4 % (≥ 98.1 %)" not in text_of(of_twenty())
    assert text_of(of_twenty(), verbose=True).count("99.4 % (≥ 98.1 %)") == 179


def test_what_does_not_pass_is_told_below_with_its_numbers_and_why() -> None:
    run = of_twenty()
    failed = with_verdict(replace(NECESSARY, circuit=NAMES[1]), Verdict.FAIL)
    skipped = with_verdict(replace(BEHAVES, circuit=NAMES[2]), Verdict.INCONCLUSIVE, State.SKIPPED)
    waived = replace(
        with_verdict(replace(BEHAVES, circuit=NAMES[4]), Verdict.FAIL),
        waived=Waiver("2030-01-31", "known", "x:1:1"),
    )
    others = tuple(r for r in run.results if r.circuit not in NAMES[1:5])

    lines = text_of(replace(run, results=(failed, skipped, waived, *others))).splitlines()

    assert lines[2].split()[1:4] == [".", ".", "fail"]
    assert "skip" in lines[3]
    assert "waiv" in lines[5]
    told = lines[lines.index(f"fail  {NAMES[1]} necessary") + 1 :]
    assert told[:2] == [
        "    observed 50.0 % of all 24 prompts (the whole space), needed ≤ 65.0 %",
        "    because of fail",
    ]
    assert "    because of inconclusive" in lines
    assert "    waived until 2030-01-31: known" in lines


@pytest.mark.parametrize(
    ("arguments", "no_color", "is_coloured"),
    [((), "", False), (("--color=yes",), "", True), (("--color=no",), "", False), ((), "1", False)],
)
def test_colours_are_asked_for_and_can_be_refused(
    repository: Repository,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    no_color: str,
    *,
    is_coloured: bool,
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    repository.write_good_spec(claims=("behaves",))
    result = repository.gate(*arguments)
    (line,) = [line for line in result.outlines if "gate: " in line]

    assert line.startswith(ESCAPE) == is_coloured
