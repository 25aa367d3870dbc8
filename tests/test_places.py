"""Which tokens of a prompt a role of its template names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_circuits.errors import ModelError, SpecError
from pytest_circuits.model.spelling import spelled
from pytest_circuits.prompts.places import Places, Span
from pytest_circuits.spec.load import parse_spec

EVERY = {"a": ("cue",), "b": ("last", "text"), "c": ("who",)}


def places(
    prompt: str,
    slots: str = "who: {choice: [anna, ben]}",
    *,
    roles: dict[str, tuple[str, ...]] = EVERY,
    more: str = "",
) -> Places:
    text = (
        f"version: 1\ncircuit: x\nmodel: x\nbehavior:\n  prompt: {prompt}\n  slots:\n    {slots}\n"
        "  contrast:\n    side: {left: L, right: R, straight on: S}\nablation: mean\n"
        f"claims:\n  behaves: {{rate: 0.9}}\n{more}"
    )
    return Places.of(parse_spec(text, path=Path("x.circuit.yaml")).spec, roles)


def words(text: str) -> list[Span]:
    """A token a word, with the space before it, as most tokenizers have it."""
    return [found.span() for found in re.finditer(r" ?\S+", text)]


def test_a_cue_of_several_tokens_is_at_each_of_them() -> None:
    found = places('"go {side} , {who} now"').within(
        "go straight on , ben now", words("go straight on , ben now")
    )

    assert found == {
        "a": (1, 0, 0, 1, 1, 1),
        "b": (1, 2, 2, 1, 2, 0),  # 0: the last, 1: of the template, 2: of a slot
        "c": (1, 1, 1, 1, 0, 1),
    }


def test_a_slot_is_at_each_place_where_it_stands_and_may_be_the_last_token_too() -> None:
    text = "ben or left , ben"
    found = places('"{who} or {side} , {who}"').within(text, words(text))

    assert found is not None
    assert found["c"] == (0, 1, 1, 1, 0)
    assert found["b"] == (2, 1, 2, 1, 0)


def test_what_is_put_before_a_text_is_of_no_slot() -> None:
    found = places('"{side} {who}"').within("left ben", [(0, 0), *words("left ben")])

    assert found is not None
    assert found["b"] == (1, 2, 0)
    assert found["a"] == (1, 0, 1)


def test_a_token_that_straddles_a_slot_and_the_text_around_it_is_of_the_slot() -> None:
    found = places("\"say '{side}', {who}\"").within("say 'left', ben", [(0, 3), (3, 11), (11, 15)])

    assert found is not None
    assert found["a"] == (1, 0, 1)


def test_a_slot_that_holds_nothing_is_at_no_token() -> None:
    found = places('"say{who} , {side}"', "who: {choice: ['', ben]}").within(
        "say , left", [(0, 5), (5, 10)]
    )

    assert found is not None
    assert found["c"] == (1, 1)
    assert found["b"] == (1, 0)


def test_a_token_of_two_roles_is_refused_where_they_are_told_apart() -> None:
    text, spans = "leftben", [(0, 7)]

    assert places('"{side}{who}"').within(text, spans) == {"a": (0,), "b": (0,), "c": (0,)}
    apart = places('"{side}{who}"', roles={"x.head": ("cue", "who")})
    with pytest.raises(SpecError) as caught:
        apart.within(text, spans)
    assert str(caught.value) == (
        "the token 'leftben' of the prompt 'leftben' is 'cue' and 'who', which x.head tells apart; "
        "name one of them there"
    )


def test_a_prompt_that_can_be_read_in_two_ways_is_refused() -> None:
    two = places('"{who}{more} {side}"', "who: {choice: [an, ann]}\n    more: {choice: [na, a]}")
    letters = [(i, i + 1) for i in range(len("anna left"))]

    with pytest.raises(SpecError, match="'anna left' can be read in 2 ways, which differ in where"):
        two.within("anna left", letters)
    as_words = two.within("anna left", words("anna left"))  # both ways give the same tokens
    assert as_words is not None
    assert as_words["c"] == (0, 1)


def test_a_text_that_the_slots_do_not_list_is_no_prompt_unless_it_is_given() -> None:
    text = "carla , left now"
    more = f"regressions: ['{text}']\n"

    assert places('"{who} , {side} now"').within(text, words(text)) is None
    given = places('"{who} , {side} now"', more=more)
    for side in ("left", "right"):  # and so is its partner
        found = given.within(text.replace("left", side), words(text.replace("left", side)))
        assert found is not None
        assert found["c"] == (0, 1, 1, 1)
        assert found["a"] == (1, 1, 0, 1)


def test_a_prompt_with_too_many_readings_is_refused() -> None:
    slots = "\n    ".join(
        f"w{i}: {{words: {{from: [a], count: [1, 9], separator: ''}}}}" for i in range(8)
    )
    prompt = f'"{"".join(f"{{w{i}}}" for i in range(8))} {{side}}"'

    with pytest.raises(SpecError, match="can be read in too many ways to say where w1 is"):
        places(prompt, slots, roles={"x": ("w1",)}).within(f"{'a' * 40} left", [(0, 45)])


def test_tokens_that_spell_a_text_say_where_they_are() -> None:
    tokens = ["go ", "left", " now"]

    assert spelled("go left now", [0, 1, 2], tokens.__getitem__) == [(0, 3), (3, 7), (7, 11)]
    for spaced in (" go", "left ", "  ", "now"), ("go", "left", "", "now"):
        found = spelled("go left now", [0, 1, 2, 3], spaced.__getitem__)
        assert found == [(0, 2), (3, 7), (0, 0), (8, 11)]
    with pytest.raises(ModelError, match="spell 'go Left now', so that nobody knows"):
        spelled("go left now", [0, 1, 2], ["go ", "Left", " now"].__getitem__)
