"""A change of a prompt touches the named slots alone, and a sample is like the whole space."""

from __future__ import annotations

from collections import Counter

import pytest

from pytest_circuits.prompts.changes import ChangeSpace
from pytest_circuits.prompts.space import Pair, PromptSpace
from pytest_circuits.spec.types import Behavior

BEHAVIOR = Behavior.model_validate_json(
    """{
        "prompt": "{a} {b}{cue}{a}",
        "slots": {
            "a": {"words": {"from": ["x", "y"], "count": [1, 2]}},
            "b": {"integer": [1, 3]}
        },
        "contrast": {"cue": {"(": ")", "[": "]"}}
    }"""
)
SPACE = PromptSpace(BEHAVIOR)


def unordered(change: Pair) -> frozenset[str]:
    return frozenset({change.first.text, change.second.text})


@pytest.mark.parametrize("slots", [("a",), ("b",), ("a", "b")])
def test_a_sample_of_changes_is_like_all_of_them(slots: tuple[str, ...]) -> None:
    (changes,) = ChangeSpace(SPACE, slots).groups
    expected = {unordered(change): weight for change, weight in changes.enumerate()}
    members = [index % 2 for index in range(4_000)]

    drawn = Counter(map(unordered, changes.sample(members, seed=1, other_seed=2)))

    assert sum(expected.values()) == pytest.approx(1)
    assert set(drawn) <= set(expected)
    assert 2 * len(expected) <= changes.most
    assert {key: drawn[key] / 4_000 for key in expected} == pytest.approx(expected, abs=0.02)


def test_a_change_keeps_the_cue_and_with_it_the_answer() -> None:
    answers = {"(": (")", "]"), "[": ("]", ")")}

    (changes,) = ChangeSpace(SPACE, ("a",)).groups

    for change, _ in changes.enumerate():
        assert change.first.text != change.second.text
        for prompt in (change.first, change.second):
            (cue,) = {"(", "["} & set(prompt.text)
            assert (prompt.answer, prompt.foil) == answers[cue]
        assert (change.first.answer, change.first.foil) == (
            change.second.answer,
            change.second.foil,
        )


def test_equal_seeds_give_equal_changes_and_the_prompts_of_the_space() -> None:
    (changes,) = ChangeSpace(SPACE, ("b",)).groups

    first, again = (changes.sample([0, 0, 0], seed=7, other_seed=8) for _ in range(2))

    assert first == again
    assert [c.first for c in first] == [pair.first for pair in SPACE.sample(3, seed=7)]


def test_a_literal_prompt_changes_to_the_values_of_the_slot() -> None:
    changes = ChangeSpace(SPACE, ("b",)).of("xyz 9[xyz")

    assert [change.second.text for change in changes] == [f"xyz {n}[xyz" for n in (1, 2, 3)]
    assert ChangeSpace(SPACE, ("b",)).of("nothing") == ()


def test_a_prompt_for_which_nothing_fits_is_given_back() -> None:
    found, lonely = ChangeSpace(SPACE, ("a",)).fitting(
        50, seed=3, fits=lambda change: len(change.first.text) == len(change.second.text) == 5
    )

    assert found
    assert lonely
    assert all(len(change.first.text) == len(change.second.text) == 5 for change in found)
    assert all(len(prompt.text) != 5 for prompt in lonely)
