from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from pytest_circuits.claims.search import stream
from pytest_circuits.prompts.space import Pair, Prompt, PromptSpace
from pytest_circuits.prompts.tokens import check_prompts
from pytest_circuits.spec.load import LoadedSpec, parse_spec
from pytest_circuits.spec.slots import ChoiceSlot, IntegerSlot, Slot, WordList, WordsSlot
from pytest_circuits.spec.types import Behavior

QUOTES = {"quote": {"'": "'", '"': '"'}}


def space(prompt: str, **slots: Slot) -> PromptSpace:
    return PromptSpace(Behavior(templates={"1": prompt}, slots=slots, contrast=QUOTES))


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


def test_ways_that_make_the_same_text_are_one_pair() -> None:
    joined = WordsSlot(words=WordList(from_=("a", "aa"), count=(1, 2), separator=""))
    alike = space("{quote}{words}", words=joined)

    found = {pair.first.text: weight for pair, weight in alike.enumerate()}

    assert found == pytest.approx({'"a': 1 / 4, '"aa': 3 / 8, '"aaa': 1 / 4, '"aaaa': 1 / 8})
    assert alike.size == len(list(alike.enumerate())) == 4


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
    turned = PromptSpace(Behavior(templates=SMALL.behavior.templates, slots=slots, contrast=cues))

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


@pytest.mark.parametrize(  # other numbers in each: Hypothesis keeps what it has seen
    ("slot", "numbers"),
    [
        (IntegerSlot(integer=(150, 250)), range(150, 250)),
        (IntegerSlot(integer=(3, 250_000)), range(1000, 1900)),
        (ChoiceSlot(choice=tuple(map(str, range(500)))), range(250, 500)),
        (words(*(f"w{index}" for index in range(1000)), least=1, most=3), range(500, 1000)),
    ],
    ids=["more than 100", "very many", "choice", "words"],
)
def test_numbers_in_modules_that_are_imported_do_not_change_what_a_search_tries(
    slot: Slot, numbers: range, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategy = space("x{n} = {quote}", n=slot).strategy()
    before = stream(strategy, search=200, start=1)
    name = f"local_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(f"NUMBERS = {[*numbers]}\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module(name)

    assert stream(strategy, search=200, start=1) == before


@pytest.mark.parametrize(
    ("slot", "wanted", "simplest"),
    [
        (IntegerSlot(integer=(150, 99_999)), lambda text: int(text) >= 31_415, "31415"),
        (ChoiceSlot(choice=tuple(map(str, range(1000)))), lambda text: int(text) > 730, "731"),
    ],
    ids=["integer", "choice"],
)
def test_long_ranges_are_drawn_whole_and_shrink_to_their_first_values(
    slot: Slot, wanted: Callable[[str], bool], simplest: str
) -> None:
    quiet = settings(database=None, derandomize=True, max_examples=2000)

    assert find(slot.strategy(), wanted, settings=quiet) == simplest


@settings(deadline=None)
@given(SMALL.strategy(), st.booleans())
def test_a_prompt_of_the_space_parses_into_its_pair(pair: Pair, first: bool) -> None:  # noqa: FBT001
    assert SMALL.parse(pair.first.text if first else pair.second.text) == (pair,)


def test_a_prompt_that_no_slot_lists_parses_all_the_same() -> None:
    (pair,) = SMALL.parse("zz = 'q7")

    assert pair == Pair(
        Prompt('zz = "q7', answer='"', foil="'", partner="zz = 'q7"),
        Prompt("zz = 'q7", answer="'", foil='"', partner='zz = "q7'),
    )


@pytest.mark.parametrize("text", ["", "x = ", "x: 'a", "x = q"])
def test_a_prompt_of_another_shape_does_not_parse(text: str) -> None:
    assert SMALL.parse(text) == ()


WORDINGS = PromptSpace(
    Behavior(
        templates={"set": "{name} = {quote}{words}", "call": "print({quote}{words}"},
        slots=SMALL.behavior.slots,
        contrast=QUOTES,
    )
)
XOR = PromptSpace(
    Behavior(
        templates={"1": "{name} {bits} "},
        slots={"name": ChoiceSlot(choice=("x", "y"))},
        contrast={"bits": {"1 1": "F", "0 1": "T", "0 0": "F", "1 0": "T"}},
    )
)


def test_each_template_has_prompts_of_its_own_with_the_slots_that_it_names() -> None:
    pairs = list(WORDINGS.enumerate())
    texts = [pair.first.text for pair, _ in pairs]

    assert [(group.key, group.size) for group in WORDINGS.groups] == [("set", 26), ("call", 13)]
    assert WORDINGS.size == len(set(texts)) == 26 + 13
    assert texts[:3] == ['x = "', 'print("', 'x = "a']
    assert sum(weight for _, weight in pairs) == pytest.approx(1)
    called = sum(weight for pair, weight in pairs if pair.first.text.startswith("print"))
    assert called == pytest.approx(1 / 2)


def test_a_sample_takes_the_templates_in_turn() -> None:
    sample = WORDINGS.sample(41, seed=3)

    assert [pair.first.text.startswith("print") for pair in sample[:4]] == [False, True] * 2
    for group, drawn in zip(WORDINGS.groups, (sample[::2], sample[1::2]), strict=True):
        assert drawn == group.sample(len(drawn), seed=3)


def test_a_pair_and_a_prompt_are_found_in_their_template() -> None:
    for group in WORDINGS.groups:
        for pair in group.sample(20, seed=1):
            place = WORDINGS.locate(pair)
            assert place is not None
            assert place[0] == group
            assert WORDINGS.parse(pair.second.text) == (pair,)


def test_an_input_that_is_constant_in_one_contrast_varies_in_another() -> None:
    pairs = {pair for pair, _ in XOR.enumerate() if pair.first.text.startswith("x")}

    found = {(pair.first.text, pair.second.text) for pair in pairs}

    assert found == {
        ("x 0 0 ", "x 0 1 "),
        ("x 0 0 ", "x 1 0 "),
        ("x 1 1 ", "x 0 1 "),
        ("x 1 1 ", "x 1 0 "),
    }
    for pair in pairs:
        assert (pair.first.answer, pair.first.foil) == ("F", "T")
        assert (pair.second.answer, pair.second.foil) == ("T", "F")
        assert pair.first.partner == pair.second.text
        assert pair.second.partner == pair.first.text


def test_a_prompt_has_a_partner_for_every_foil() -> None:
    partners = [pair.second.text for pair in XOR.parse("y 0 0 ")]

    assert partners == ["y 0 1 ", "y 1 0 "]
    assert [pair.first.text for pair in XOR.parse("z 1 0 ")] == ["z 0 0 ", "z 1 1 "]


@settings(deadline=None)
@given(XOR.strategy())
def test_the_search_is_over_every_contrast(pair: Pair) -> None:
    assert pair in {member for member, _ in XOR.enumerate()}


@pytest.mark.parametrize(("wanted", "simplest"), [("print", 'print("'), ("yy", 'yy = "')])
def test_the_search_shrinks_within_each_template(wanted: str, simplest: str) -> None:
    quiet = settings(database=None, deadline=None, max_examples=1000)

    pair = find(WORDINGS.strategy(), lambda pair: wanted in pair.first.text, settings=quiet)

    assert pair.first.text == simplest


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
            "it becomes 2 tokens ('b', 'a'); choose an answer that is one token there, such as 'b'"
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


def test_what_one_template_makes_of_answers_is_named_with_it() -> None:
    several = '{plain: "x = {quote}{words}", call: "f({quote}{words}b"}'
    text = SPEC.replace('"x = {quote}{words}"', several).replace("ANSWER", "'\"'")
    spec = parse_spec(text, path=Path("q.circuit.yaml"))

    def merging(text: str) -> list[int]:
        return letters(text.replace("bb'", "B"))

    assert checked(spec, merging) == [
        (
            "q.circuit.yaml:10:12: the answer ''' is not one token after 'f(\"abb': it merges with "
            "the end of the prompt into 'B' (template 'call'); choose an answer that is one token "
            "there"
        )
    ]
    assert checked(spec, letters, max_tokens=9) == [
        (
            "q.circuit.yaml:5:19: the prompt 'x = \"ababab' has 11 tokens; the model reads at most "
            "9 (template 'plain'); shorten its slots"
        ),
        (
            "q.circuit.yaml:5:47: the prompt 'f(\"abababb' has 10 tokens; the model reads at most "
            "9 (template 'call'); shorten its slots"
        ),
    ]


def test_a_prompt_without_tokens_is_named() -> None:
    assert (
        "q.circuit.yaml:5:11: the prompt 'x = \"ab' has no tokens"
        in checked(loaded(), lambda _: [])[0]
    )
