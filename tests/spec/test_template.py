from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_circuits.spec.load import LoadedSpec
from pytest_circuits.spec.template import (
    Hole,
    fill,
    fit,
    fit_prompt,
    hole_names,
    parse_template,
    stray_braces,
)
from pytest_circuits.spec.types import Behavior

VALUES = st.text(alphabet="ab{} =", max_size=4)


def test_a_template_is_literals_and_holes_and_doubled_braces_are_braces() -> None:
    assert parse_template("{{{a}}} = {b}{a}") == (
        "{",
        Hole("a"),
        "} = ",
        Hole("b"),
        Hole("a"),
    )
    assert hole_names(parse_template("{b}{a}{b}")) == ["b", "a"]


@pytest.mark.parametrize(
    ("text", "places"),
    [("{a", [0]), ("a}", [1]), ("{{}", [2]), ("{{a}}", []), ("{a{b}}", [0, 5]), ("", [])],
)
def test_braces_without_a_partner_are_found(text: str, places: list[int]) -> None:
    assert stray_braces(text) == places


@given(st.text())
def test_any_text_can_be_escaped_into_a_template_of_itself(text: str) -> None:
    template = text.replace("{", "{{").replace("}", "}}")

    assert fill(parse_template(template), {}) == text


@given(VALUES, VALUES, st.sampled_from(["{a}={b}", "{a}{b}={a}", "x{a}", "{a}={a}{b}{a}"]))
def test_what_a_template_makes_fits_it_again(a: str, b: str, template: str) -> None:
    parts = parse_template(template)
    text = fill(parts, {"a": a, "b": b})

    values = fit(parts, text, fixed={})

    assert values is not None
    assert fill(parts, values) == text


def test_a_slot_that_stands_twice_must_hold_the_same_text() -> None:
    parts = parse_template("{a} = {a} + {b}")

    assert fit(parts, "x = x + 1", fixed={}) == {"a": "x", "b": "1"}
    assert fit(parts, "x = y + 1", fixed={}) is None
    assert fit(parts, "x = y = x = y + 1", fixed={}) == {"a": "x = y", "b": "1"}


def behavior(prompt: str, first: str, second: str) -> Behavior:
    return Behavior(templates={"1": prompt}, contrast={"cue": {first: "yes", second: "no"}})


def test_the_longer_cue_wins_where_both_fit_at_one_place() -> None:
    either = behavior("x = {cue}{rest}", "", "f")

    assert fit_prompt(either, "x = fab") == ("1", {"cue": "f", "rest": "ab"})
    assert fit_prompt(either, "x = ab") == ("1", {"cue": "", "rest": "ab"})


def test_the_cue_that_stands_first_wins_where_both_fit() -> None:
    assert fit_prompt(behavior("{a} = {cue}{b}", "'", '"'), "x = \"y = 'z") == (
        "1",
        {"cue": '"', "a": "x", "b": "y = 'z"},
    )


def test_a_text_without_a_cue_fits_nothing() -> None:
    assert fit_prompt(behavior("{a} = {cue}", "'", '"'), "x = 1") is None


def test_a_search_that_cannot_end_is_given_up() -> None:
    prompt = "{a}{b}" * 30 + "{cue}"

    assert fit_prompt(behavior(prompt, "x", "y"), "ab" * 2000 + "z") is None


def test_a_regression_may_hold_values_that_no_slot_lists(
    load: Callable[[str], LoadedSpec], quote: str
) -> None:
    loaded = load(quote)

    assert fit_prompt(loaded.spec.behavior, "x = 'a") == (
        "1",
        {"name": "x", "quote": "'", "words": "a"},
    )
