"""What holds for every kind of slot."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import find
from pydantic import TypeAdapter

from pytest_circuits.spec.bounded_yaml import parse_yaml
from pytest_circuits.spec.slots import (
    SLOT_KINDS,
    ChoiceSlot,
    IntegerSlot,
    Slot,
    WordList,
    WordsSlot,
)

EXAMPLES: list[Slot] = [
    ChoiceSlot(choice=("x", "a b", "")),
    ChoiceSlot(choice=("no",)),
    IntegerSlot(integer=(8, 12)),
    IntegerSlot(integer=(0, 0)),
    WordsSlot(words=WordList(from_=("a", "bb"), count=(0, 3))),
    WordsSlot(words=WordList(from_=("a", "b"), count=(2, 2), separator="")),
    WordsSlot(words=WordList(from_=("a: b", "c"), count=(1, 2), separator="\n")),
    WordsSlot(words=WordList(from_=("a b", "c"), count=(1, 2))),
    WordsSlot(words=WordList(from_=("ab", "c", "abd"), count=(1, 2), separator="")),
]
every_kind = pytest.mark.parametrize("slot", EXAMPLES, ids=lambda slot: repr(slot)[:40])


def test_there_is_an_example_of_each_kind() -> None:
    assert {name for slot in EXAMPLES for name in type(slot).model_fields} == {*SLOT_KINDS}


@every_kind
def test_its_texts_are_counted_held_and_no_longer_than_it_says(slot: Slot) -> None:
    texts = dict(slot.values())

    assert len(texts) == slot.size
    assert sum(texts.values()) == pytest.approx(1)
    assert all(map(slot.holds, texts))
    assert max(map(len, texts)) <= slot.longest
    assert not slot.holds("never among them")
    assert list(slot.faults(())) == []


@every_kind
def test_draws_follow_the_probabilities(slot: Slot) -> None:
    rng, texts = np.random.default_rng(0), dict(slot.values())
    drawn = Counter(slot.draw(lambda bound: int(rng.integers(bound))) for _ in range(4000))

    assert drawn.keys() == texts.keys()
    assert all(abs(drawn[text] / 4000 - share) < 0.04 for text, share in texts.items())


@every_kind
def test_neighbors_are_other_texts_of_it_and_the_search_finds_the_simplest(slot: Slot) -> None:
    texts = [text for text, _ in slot.values()]

    assert find(slot.strategy(), lambda _: True) == texts[0]
    for text in texts:
        near = [*slot.neighbors(text)]
        assert all(other != text and other in texts for other in near)
        assert near or slot.size == 1


@every_kind
def test_what_is_written_is_read_as_it_was(slot: Slot) -> None:
    tree = parse_yaml("\n".join(slot.lines("name")), path=Path("slot"))

    assert isinstance(tree.value, dict)
    adapter: TypeAdapter[Slot] = TypeAdapter(Slot)
    assert adapter.validate_python(tree.value["name"], strict=False, by_alias=True) == slot
