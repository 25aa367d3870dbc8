from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from pytest_circuits.prompts.space import Pair, Prompt, PromptSpace
from pytest_circuits.prompts.tokens import check_prompts
from pytest_circuits.spec.load import LoadedSpec, parse_spec
from pytest_circuits.spec.slots import ChoiceSlot, IntegerSlot, Slot, WordList, WordsSlot
from pytest_circuits.spec.types import Behavior

QUOTES = {"quote": {"'": "'", '"': '"'}}


def space(prompt: str, **slots: Slot) -> PromptSpace:
    return PromptSpace(Behavior(prompt=prompt, slots=slots, contrast=QUOTES))


def words(*texts: str, least: int, most: int) -> WordsSlot:
    return WordsSlot(words=WordList(from_=texts, count=(least, most)))


SMALL = space(
    "{name} = {quote}{words}{number}",
    name=ChoiceSlot(choice=("x", "yy")),
    words=words("a", "b", "c", least=0, most=2),
    number=IntegerSlot(integer=(8, 10)),
)


def test_a_pair_differs_in_the_cue_alone_and_swaps_answer_and_foil() -> None:
    (pair,) = space("x = {quote}").sample(1, seed=0)

    assert pair == Pair(
        Prompt(text='x = "', answer='"', foil="'", partner="x = '"),
        Prompt(text="x = '", answer="'", foil='"', partner='x = "'),
    )


def test_a_slot_that_stands_twice_has_one_value() -> None:
    twice = space("{name} = {name} + {quote}", name=ChoiceSlot(choice=("x", "y")))

    assert {pair.first.text for pair, _ in twice.enumerate()} == {'x = x + "', 'y = y + "'}


def test_doubled_braces_are_braces() -> None:
    (pair,) = space("{{a}} {quote}").sample(1, seed=0)

    assert pair.first.text == '{a} "'


def test_the_size_is_the_number_of_pairs() -> None:
    assert SMALL.size == 2 * (1 + 3 + 9) * 3
    assert len(list(SMALL.enumerate())) == SMALL.size
    assert len({pair.first.text for pair, _ in SMALL.enumerate()}) == SMALL.size


def test_the_enumeration_begins_with_the_simplest_and_its_weights_sum_to_one() -> None:
    pairs = list(SMALL.enumerate())

    assert pairs[0][0].first.text == 'x = "8'
    assert sum(weight for _, weight in pairs) == pytest.approx(1, abs=1e-12)


def test_a_space_without_slots_is_one_pair() -> None:
    alone = space("x = {quote}")

    assert alone.size == 1
    assert [weight for _, weight in alone.enumerate()] == [1.0]


def test_a_huge_space_is_counted_and_enumerated_lazily() -> None:
    huge = space(
        "{quote}{a}{b}",
        a=IntegerSlot(integer=(0, 10**9)),
        b=words("a", "b", least=100, most=100),
    )

    assert huge.size == (10**9 + 1) * 2**100
    assert [pair.first.text[:5] for pair, _ in islice(huge.enumerate(), 2)] == ['"0a a', '"0a a']


def test_equal_seeds_give_equal_samples_and_other_seeds_others() -> None:
    assert SMALL.sample(50, seed=2**200) == SMALL.sample(50, seed=2**200)
    assert SMALL.sample(50, seed=1) != SMALL.sample(50, seed=2)
    assert SMALL.sample(50, seed=1)[:20] == SMALL.sample(20, seed=1)


def test_the_sample_of_a_seed_is_the_same_in_every_release() -> None:
    texts = [pair.first.text for pair in SMALL.sample(4, seed=7)]

    assert texts == ['x = "8', 'x = "10', 'x = "a b8', 'yy = "b a9']


def test_the_order_of_slots_and_cues_changes_no_prompt() -> None:
    slots = dict(reversed(SMALL.behavior.slots.items()))
    cues = {"quote": dict(reversed(QUOTES["quote"].items()))}
    turned = PromptSpace(Behavior(prompt=SMALL.behavior.prompt, slots=slots, contrast=cues))

    assert turned.sample(20, seed=3) == SMALL.sample(20, seed=3)


def test_the_sample_follows_the_weights_of_the_enumeration() -> None:
    n = 20_000
    counts = Counter(SMALL.sample(n, seed=0))
    weights = dict(SMALL.enumerate())

    observed = [counts[pair] for pair in weights]

    assert sum(observed) == n
    assert chisquare(observed, n * np.array(list(weights.values()))).pvalue > 0.001


@settings(deadline=None)
@given(SMALL.strategy())
def test_the_search_proposes_members_of_the_space_only(pair: Pair) -> None:
    assert pair in {member for member, _ in SMALL.enumerate()}


@pytest.mark.parametrize(
    ("wanted", "simplest"),
    [
        (lambda _: True, 'x = "8'),
        (lambda text: text.count(" ") > 2, 'x = "a a8'),
        (lambda text: "c" in text and "9" in text, 'x = "c9'),
        (lambda text: text.startswith("yy"), 'yy = "8'),
    ],
)
def test_the_search_shrinks_to_the_simplest_prompt(
    wanted: Callable[[str], bool], simplest: str
) -> None:
    quiet = settings(database=None, deadline=None, max_examples=1000)

    pair = find(SMALL.strategy(), lambda pair: wanted(pair.first.text), settings=quiet)

    assert pair.first.text == simplest


@settings(deadline=None)
@given(SMALL.strategy(), st.booleans())
def test_a_prompt_of_the_space_parses_into_its_pair(pair: Pair, first: bool) -> None:  # noqa: FBT001
    assert SMALL.parse(pair.first.text if first else pair.second.text) == pair


def test_a_prompt_that_no_slot_lists_parses_all_the_same() -> None:
    pair = SMALL.parse("zz = 'q7")

    assert pair == Pair(
        Prompt('zz = "q7', answer='"', foil="'", partner="zz = 'q7"),
        Prompt("zz = 'q7", answer="'", foil='"', partner='zz = "q7'),
    )


@pytest.mark.parametrize("text", ["", "x = ", "x: 'a", "x = q"])
def test_a_prompt_of_another_shape_does_not_parse(text: str) -> None:
    assert SMALL.parse(text) is None


SPEC = """\
version: 1
circuit: c
model: m
behavior:
  prompt: "x = {quote}{words}"
  slots:
    words: {words: {from: [ab], count: [1, 3], separator: ""}}
  contrast:
    quote:
      "'": "'"
      '"': ANSWER
ablation: mean
claims:
  behaves: {rate: 0.9}
"""


def loaded(answer: str = "'\"'") -> LoadedSpec:
    return parse_spec(SPEC.replace("ANSWER", answer), path=Path("q.circuit.yaml"))


def letters(text: str) -> list[int]:
    return [ord(char) for char in text]


def checked(
    spec: LoadedSpec,
    encode: Callable[[str], list[int]],
    *,
    max_tokens: int = 99,
    decode: Callable[[int], str] | None = chr,
) -> list[str]:
    pairs = PromptSpace(spec.spec.behavior).sample(20, seed=0)
    problems = check_prompts(spec, encode, max_tokens=max_tokens, pairs=pairs, decode=decode)
    return [str(problem).splitlines()[0] for problem in problems]


def test_prompts_that_a_model_can_be_asked_have_no_problems() -> None:
    assert checked(loaded(), letters) == []


def test_an_answer_of_two_tokens_is_named_with_its_tokens_once() -> None:
    assert checked(loaded(answer="'ba'"), letters) == [
        (
            "q.circuit.yaml:11:12: the answer 'ba' is not one token after 'x = \"ab': "
            "it becomes 2 tokens ('b', 'a'); choose an answer that is one token there"
        )
    ]
    assert "it becomes 2 tokens (98, 97)" in checked(loaded(answer="'ba'"), letters, decode=None)[0]


def test_an_answer_that_merges_with_the_prompt_is_named() -> None:
    def merging(text: str) -> list[int]:
        return letters(text.replace("b'", "B"))

    assert checked(loaded(), merging) == [
        (
            "q.circuit.yaml:10:12: the answer ''' is not one token after 'x = \"ab': it merges "
            "with the end of the prompt into 'B'; choose an answer that is one token there"
        )
    ]


def test_a_prompt_that_the_model_cannot_read_whole_is_named() -> None:
    assert checked(loaded(), letters, max_tokens=9) == [
        (
            "q.circuit.yaml:5:11: the prompt 'x = \"ababab' has 11 tokens; the model reads "
            "at most 9; shorten its slots"
        )
    ]


def test_cues_that_the_tokenizer_cannot_tell_apart_are_named() -> None:
    def blind(text: str) -> list[int]:
        return letters(text.replace("'", '"'))

    assert checked(loaded(), blind) == [
        (
            "q.circuit.yaml:9:5: a contrast that changes nothing: 'x = \"ab' and 'x = 'ab' are the "
            "same tokens"
        )
    ]


def test_answers_that_are_one_token_are_named() -> None:
    def unknown(text: str) -> list[int]:
        return [*letters(text[:-1]), ord(text[-1]) if text[-1] not in "'\"" else 0]

    assert checked(loaded(), unknown) == [
        "q.circuit.yaml:9:5: a contrast that asks nothing: '\"' and ''' are the same token"
    ]


def test_a_prompt_without_tokens_is_named() -> None:
    assert (
        "q.circuit.yaml:5:11: the prompt 'x = \"ab' has no tokens"
        in checked(loaded(), lambda _: [])[0]
    )
