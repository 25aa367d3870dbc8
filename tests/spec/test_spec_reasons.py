"""`undeclared` and `waivers`: how they are written, refused, and that they decide no evidence."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest

from pytest_circuits.spec.load import LoadedSpec
from pytest_circuits.spec.schema import json_schema
from pytest_circuits.spec.types import Claims, Undeclared, Waivers
from pytest_circuits.spec.write import dump_spec
from tests.spec.test_spec_schema import errors

Load = Callable[[str], LoadedSpec]
FirstLines = Callable[[str], list[str]]

GOOD = (
    'undeclared:\n  faithful: "fails: the gap is 1.2 nats"\n  minimal: undecided\n'
    'waivers:\n  necessary: {until: 2026-12-31, reason: "found in run 12: #34"}\n'
)


def test_reasons_are_read_and_written(load: Load, quote: str) -> None:
    spec = load(quote + GOOD).spec

    assert spec.undeclared.items() == (
        ("faithful", "fails: the gap is 1.2 nats"),
        ("minimal", "undecided"),
    )
    ((claim, waiver),) = spec.waivers.items()
    assert (claim, waiver.until, waiver.reason) == (
        "necessary",
        date(2026, 12, 31),
        "found in run 12: #34",
    )
    assert GOOD in dump_spec(spec)
    assert load(dump_spec(spec)).spec == spec


def test_they_decide_no_evidence_and_so_leave_the_digest(load: Load, quote: str) -> None:
    assert load(quote + GOOD).digest == load(quote).digest


def test_they_can_be_about_every_claim_and_no_other() -> None:
    assert [*Undeclared.model_fields] == [*Waivers.model_fields] == [*Claims.model_fields]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "undeclared: {faithfull: x}",
            "26:14: unknown key 'faithfull' in undeclared; did you mean 'faithful'?",
        ),
        (
            "undeclared: {necessary: x}",
            (
                "26:14: claim 'necessary' is declared, and so put to the test; remove this line, "
                "or the claim"
            ),
        ),
        (
            "undeclared: {minimal: ' '}",
            "26:23: the reason says nothing; say why, and what was measured or reviewed",
        ),
        (
            "waivers: {necesary: {until: 2026-12-31, reason: x}}",
            "26:11: unknown key 'necesary' in waivers; did you mean 'necessary'?",
        ),
        (
            "waivers: {minimal: {until: 2026-12-31, reason: x}}",
            "26:11: claim 'minimal' is not declared: there is nothing to waive; remove this line",
        ),
        (
            "waivers: {necessary: {until: 2026-12-31, reason: ' '}}",
            "26:50: the reason says nothing; say why, and what was measured or reviewed",
        ),
        (
            "waivers: {necessary: {until: 2026-12-31}}",
            (
                "26:11: 'reason' is missing in the waiver of 'necessary'; it must be a text of "
                "1 to 4,096 characters"
            ),
        ),
        *(
            (
                f"waivers: {{necessary: {{until: {day}, reason: x}}}}",
                "26:30: 'until' of the waiver of 'necessary' must be a day, as in 2026-12-31, not "
                + said,
            )
            for day, said in {
                "2026-02-30": "the text '2026-02-30'",
                "'1798675200'": "the text '1798675200'",
                "20261231": "the number 20261231",
            }.items()
        ),
    ],
)
def test_reasons_that_make_no_sense_are_named_at_their_place(
    first_lines: FirstLines, quote: str, text: str, line: str
) -> None:
    assert first_lines(f"{quote}{text}\n") == [f"q.circuit.yaml:{line}"]


def test_the_editor_completes_and_refuses_them(load: Load, quote: str) -> None:
    value = load(quote + GOOD).tree.value
    assert isinstance(value, dict)

    assert errors(value) == []
    assert errors({**value, "undeclared": {"faithfull": "x"}})
    assert errors({**value, "waivers": {"necessary": {"until": "2026-12-31"}}})
    assert json_schema()["$defs"]["Waiver"]["properties"]["until"]["format"] == "date"
