"""Several templates of a behavior, and more than two cues."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_circuits.spec.load import LoadedSpec
from pytest_circuits.spec.template import contrasts, fit_prompt
from pytest_circuits.spec.write import dump_spec, keep_prompt

FirstLines = Callable[[str], list[str]]
Load = Callable[[str], LoadedSpec]

ONE = '  prompt: "{name} = {quote}{words}"\n'
LISTED = '  prompt: ["{name} = {quote}{words}", "print({name}, {quote}{words}"]\n'
NAMED = '  prompt:\n    plain: "{name} = {quote}{words}"\n    call: "print({quote}{words}"\n'
CUES = "      \"'\": \"'\"\n      '\"': '\"'\n"
XOR = '      "0 0": F\n      "0 1": T\n      "1 0": T\n      "1 1": F\n'


@pytest.mark.parametrize(
    ("prompt", "lines"),
    [
        pytest.param(
            '["{name} {quote}{words}", "{name} {quote}{words}", "{nam} {words}{quote}"]',
            [
                "7:37: template '2' is the same text as '1'; keep one of them",
                (
                    "7:62: template '3' names a slot 'nam' that is not declared; "
                    "did you mean 'name'?"
                ),
            ],
            id="twice and misspelt",
        ),
        pytest.param(
            '{plain: "{name} = {quote}", call: "print({quote}{words}"}',
            [
                (
                    "7:19: template 'plain' shares no slot with 'call': it is no other wording of "
                    "it; put the same slots into both, or give it a specification of its own"
                )
            ],
            id="no slot in common",
        ),
        pytest.param(
            '["{name} = {quote}{words}", "{name} = {words}"]',
            [
                (
                    "7:39: a contrast that changes nothing: the cue 'quote' is not in template "
                    "'2'; put '{quote}' into it"
                )
            ],
            id="no cue",
        ),
        pytest.param(
            '["{name} = {quote}", "{name} : {quote}"]',
            ["10:5: slot 'words' is never used; put '{words}' into the prompt or remove the slot"],
            id="slot in none",
        ),
        pytest.param(
            '["{name} = {quote}{words}", "{name} = {{quote}{words}"]',
            [
                (
                    "7:39: the '}' at character 17 of template '2' has no partner; "
                    "write '}}' for a brace"
                )
            ],
            id="brace",
        ),
        pytest.param(
            '["{name} = {quote}{words}", 7]',
            [
                (
                    "7:39: template 2 must be a text of 1 to 4,096 characters, not the number 7; "
                    "write it in quotes: '7'"
                )
            ],
            id="number in a list",
        ),
        pytest.param(
            '{plain: "{name} = {quote}{words}", call: }',
            ["7:46: template 'call' has no value; it must be a text of 1 to 4,096 characters"],
            id="no value",
        ),
        pytest.param(
            '{a b: "{name} = {quote}{words}"}',
            [
                (
                    "7:12: 'a b' is not a name: a name begins with a letter or digit, goes on "
                    "with letters, digits, '.', '_' or '-', at most 100 in all"
                )
            ],
            id="no name",
        ),
        pytest.param(
            "[]",
            [
                (
                    "7:11: 'prompt' must be a text of 1 to 4,096 characters or a list of 1 to 20 "
                    "texts or a mapping of 1 to 20 keys, not an empty list"
                )
            ],
            id="none",
        ),
        pytest.param(
            "12",
            [
                (
                    "7:11: 'prompt' must be a text of 1 to 4,096 characters or a list of 1 to 20 "
                    "texts or a mapping of 1 to 20 keys, not the number 12; "
                    "write it in quotes: '12'"
                )
            ],
            id="number",
        ),
    ],
)
def test_templates_that_make_no_sense_are_named_at_their_place(
    first_lines: FirstLines, quote: str, prompt: str, lines: list[str]
) -> None:
    bad = quote.partition("regressions:")[0].replace(ONE, f"  prompt: {prompt}\n")

    assert first_lines(bad) == [f"q.circuit.yaml:{line}" for line in lines]


def test_a_regression_that_fits_no_template_is_named(first_lines: FirstLines, quote: str) -> None:
    bad = quote.replace(ONE, LISTED).replace("x = 'a", "x: 'a")

    assert first_lines(bad) == [
        (
            "q.circuit.yaml:25:5: the regression 'x: 'a' does not fit the prompt; prompts look "
            "like '{name} = {quote}{words}' or 'print({name}, {quote}{words}'"
        )
    ]


@pytest.mark.parametrize("prompt", [ONE, LISTED, NAMED])
def test_templates_are_written_as_they_were_read(load: Load, quote: str, prompt: str) -> None:
    spec = load(quote.replace(ONE, prompt)).spec

    text = dump_spec(spec)

    assert load(text).spec == spec
    assert (ONE in text) is (prompt is ONE)
    assert ('    - "print(' in text) is (prompt is LISTED)
    assert ('    call: "print(' in text) is (prompt is NAMED)


def test_the_order_of_templates_does_not_change_the_digest(load: Load, quote: str) -> None:
    turned = '  prompt:\n    call: "print({quote}{words}"\n    plain: "{name} = {quote}{words}"\n'

    one, other, listed = (load(quote.replace(ONE, p)).digest for p in (NAMED, turned, LISTED))

    assert one == other != listed


def test_a_prompt_fits_the_template_that_lists_its_values(load: Load, quote: str) -> None:
    turned = quote.replace(
        ONE, '  prompt: ["{words} = {quote}{name}", "{name} = {quote}{words}"]\n'
    )
    behavior = load(turned).spec.behavior

    assert fit_prompt(behavior, "user_id = 'alpha beta") == (
        "2",
        {"name": "user_id", "quote": "'", "words": "alpha beta"},
    )
    assert fit_prompt(behavior, "x = 'y") == ("1", {"words": "x", "quote": "'", "name": "y"})


def test_a_prompt_of_any_template_can_be_kept(quote: str, tmp_path: Path, load: Load) -> None:
    path = tmp_path / "q.circuit.yaml"
    path.write_text(quote.replace(ONE, NAMED), encoding="utf-8")

    assert keep_prompt(path, "print('alpha")
    assert load(path.read_text(encoding="utf-8")).spec.regressions == ("x = 'a", "print('alpha")


def test_any_two_cues_with_different_answers_are_a_contrast(load: Load, quote: str) -> None:
    text = quote.partition("regressions:")[0].replace(CUES, XOR)
    turned = text.replace(XOR, "".join(reversed(XOR.splitlines(keepends=True))))

    found = contrasts(load(text).spec.behavior)

    assert {(one[0], other[0]) for one, other in found} == {
        ("0 0", "0 1"),
        ("0 0", "1 0"),
        ("1 1", "0 1"),
        ("1 1", "1 0"),
    }
    assert {(one[1], other[1]) for one, other in found} == {("F", "T")}
    assert found == contrasts(load(turned).spec.behavior)
    assert load(text).digest == load(turned).digest
    assert load(dump_spec(load(text).spec)).spec == load(text).spec


@pytest.mark.parametrize(
    ("cues", "extra", "line"),
    [
        pytest.param(
            XOR.replace("T", "F"),
            "",
            "12:5: a contrast that changes nothing: all cues have the answer 'F'; "
            "give each cue its own answer",
            id="one answer",
        ),
        pytest.param(
            XOR.replace('1": F', '1": G'),
            "calibration: {scale: 1.0, shift: 0.5}\n",
            "26:1: a calibration shifts a circuit towards one of two answers, and the contrast "
            "has 3: 'F', 'T', 'G'; remove it, or make a specification of two answers",
            id="calibration",
        ),
    ],
)
def test_cues_that_ask_nothing_are_named(
    first_lines: FirstLines, quote: str, cues: str, extra: str, line: str
) -> None:
    bad = quote.partition("regressions:")[0].replace(CUES, cues) + extra

    assert first_lines(bad) == [f"q.circuit.yaml:{line}"]
