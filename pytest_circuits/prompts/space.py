"""A prompt space: one definition gives the search, the sample and the proof their prompts.

A slot that stands twice in the template has the same value in both places. Nothing here depends on
the order in which a specification lists its slots or its cues.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from pytest_circuits.spec.load import LoadedSpec
from pytest_circuits.spec.problems import Loc, Problem, listed, quoted
from pytest_circuits.spec.slots import Slot
from pytest_circuits.spec.template import (
    cue_name,
    cues,
    fill,
    fit_prompt,
    hole_names,
    parse_template,
)
from pytest_circuits.spec.types import Ambiguous, Behavior

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Values: TypeAlias = "Mapping[str, str]"  # what each slot holds


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text, the token that should follow it and the one that should not."""

    text: str
    answer: str
    foil: str


@dataclass(frozen=True, slots=True)
class Pair:
    """A contrast pair: two prompts that differ in the cue alone, answer and foil swapped."""

    first: Prompt
    second: Prompt


def prompts_of(pairs: Iterable[Pair]) -> list[Prompt]:
    """Both members of each pair, in turn."""
    return [prompt for pair in pairs for prompt in (pair.first, pair.second)]


@dataclass(frozen=True, slots=True)
class PromptSpace:
    """All contrast pairs of a behavior; in each, `first` holds the cue that sorts first."""

    behavior: Behavior

    @property
    def size(self) -> int:
        """The number of pairs, counting each way to fill the slots once."""
        return self.ways()

    def ways(self, *names: str) -> int:
        """Return the number of ways to fill these slots, or all."""
        return prod(slot.size for _, slot in self._slots(names))

    def strategy(self) -> SearchStrategy[Pair]:
        """Return the strategy of all pairs; it shrinks to first choices, few and small values."""
        return self.values().map(self.pair)

    def values(self, *names: str) -> SearchStrategy[Values]:
        """Return the strategy of the values of these slots, or of all; it shrinks likewise."""
        from hypothesis import strategies as st  # noqa: PLC0415  (an import that costs 0.2 s)

        slots = {name: slot.strategy() for name, slot in self._slots(names)}
        return st.fixed_dictionaries(slots)

    def sample(self, n: int, *, seed: int) -> tuple[Pair, ...]:
        """Return `n` independent pairs from the declared distribution; equal seeds, equal pairs.

        Args:
            n: how many pairs.
            seed: any whole number that is not negative.

        """
        drawn = self.draws(seed=seed)
        return tuple(self.pair(next(drawn)) for _ in range(n))

    def draws(self, *names: str, seed: int) -> Iterator[Values]:
        """Give independent draws of the values of these slots, or of all, without an end."""
        below = _counter(seed)
        slots = self._slots(names)
        while True:
            yield {name: slot.draw(below) for name, slot in slots}

    def enumerate(self) -> Iterator[tuple[Pair, float]]:
        """Give every pair once with its probability, the simplest first; these sum to one."""
        yield from ((self.pair(values), weight) for values, weight in self.fillings())

    def fillings(self, *names: str) -> Iterator[tuple[Values, float]]:
        """Give every way to fill these slots, or all, once with its probability."""
        yield from _fillings(self._slots(names))

    def pair(self, values: Values) -> Pair:
        """Return the contrast pair of one way to fill the slots."""
        parts = parse_template(self.behavior.prompt)
        name = cue_name(self.behavior)
        (cue, answer), (other_cue, other_answer) = cues(self.behavior)
        return Pair(
            Prompt(fill(parts, {**values, name: cue}), answer, other_answer),
            Prompt(fill(parts, {**values, name: other_cue}), other_answer, answer),
        )

    def parse(self, text: str) -> Pair | None:
        """Return the pair of which a literal prompt is one member, if it fits the template.

        The text may hold values that its slots do not list; only the cue has to be one of the two.
        """
        values = fit_prompt(self.behavior, text)
        return None if values is None else self.pair(values)

    def _slots(self, only: Sequence[str] = ()) -> list[tuple[str, Slot]]:
        """Return the slots in the order of the template: these, or all."""
        names = hole_names(parse_template(self.behavior.prompt))
        known = [name for name in names if name in self.behavior.slots]
        return [(name, self.behavior.slots[name]) for name in known if name in only or not only]


def _fillings(slots: list[tuple[str, Slot]]) -> Iterator[tuple[dict[str, str], float]]:
    """Give every way to fill the slots with its probability; the last slot varies fastest."""
    if not slots:
        yield {}, 1.0
        return
    *before, (name, slot) = slots
    for values, weight in _fillings(before):
        yield from (({**values, name: text}, weight * share) for text, share in slot.values())


def _counter(seed: int) -> Callable[[int], int]:
    """Return a source of uniform whole numbers below a bound, the same in every numpy release.

    Only the raw words of a numpy bit generator are promised to stay as they are (NEP 19), so the
    step from words to numbers is ours: a word beyond the last multiple of the bound is drawn again.
    """
    words = np.random.Philox(seed)

    def below(bound: int) -> int:
        limit = 2**64 - 2**64 % bound
        word = int(words.random_raw())
        while word >= limit:
            word = int(words.random_raw())
        return word % bound

    return below


@dataclass(frozen=True, slots=True)
class _Reader:
    """How a model reads texts, remembered, for checks that ask the same again."""

    encode: Callable[[str], list[int]]
    decode: Callable[[int], str] | None
    known: dict[str, list[int]]

    def tokens(self, text: str) -> list[int]:
        if text not in self.known:
            self.known[text] = self.encode(text)
        return self.known[text]

    def shown(self, tokens: Sequence[int]) -> str:
        return listed(quoted(self.decode(token)) if self.decode else str(token) for token in tokens)


def check_prompts(
    loaded: LoadedSpec,
    encode: Callable[[str], list[int]],
    *,
    max_tokens: int,
    pairs: Iterable[Pair],
    decode: Callable[[int], str] | None = None,
) -> tuple[Problem, ...]:
    """Return why prompts cannot work with a tokenizer: of each kind one, by the shortest prompt.

    Args:
        loaded: the specification that the prompts come from.
        encode: text to token ids.
        max_tokens: the longest prompt that the model can read.
        pairs: the prompts to check, such as a sample and the regressions.
        decode: a token id to its text, to name the tokens in problems.

    """
    reader = _Reader(encode, decode, {})
    found: dict[tuple[str, Loc], Problem] = {}
    for pair in sorted(pairs, key=lambda pair: len(pair.first.text)):
        for kind, loc, text, hint in _faults(pair, reader, loaded.spec.behavior, max_tokens):
            if (kind, loc) not in found:
                found[kind, loc] = loaded.problem_at(loc, text, hint, key=kind == "contrast")
    for loc, text in _ambiguous_faults(loaded.spec.disambiguate, reader, max_tokens):
        found["ambiguous", loc] = loaded.problem_at(loc, text)
    return tuple(sorted(found.values(), key=lambda problem: (problem.line, problem.col)))


def _ambiguous_faults(
    items: Iterable[Ambiguous], reader: _Reader, most: int
) -> Iterator[tuple[Loc, str]]:
    for index, item in enumerate(items):
        ids = reader.tokens(item.prompt)
        if not 0 < len(ids) <= most:
            text = f"the prompt {quoted(item.prompt)} has {len(ids)} tokens"
            yield ("disambiguate", index, "prompt"), f"{text}; the model reads 1 to {most}"
        for place, word in enumerate(item.between):
            if fault := _not_one_token(Prompt(item.prompt, *item.between), word, reader):
                yield ("disambiguate", index, "between", place), fault


_PROMPT: Loc = ("behavior", "prompt")
_Found: TypeAlias = "tuple[str, Loc, str, str | None]"


def _faults(pair: Pair, reader: _Reader, behavior: Behavior, max_tokens: int) -> Iterator[_Found]:
    contrast = ("behavior", "contrast", cue_name(behavior))
    for prompt in (pair.first, pair.second):
        ids = reader.tokens(prompt.text)
        if not ids:
            hint = "make its text or its slots longer"
            yield "empty", _PROMPT, f"the prompt {quoted(prompt.text)} has no tokens", hint
        elif len(ids) > max_tokens:
            text = f"the prompt {quoted(prompt.text)} has {len(ids)} tokens"
            yield (
                "long",
                _PROMPT,
                f"{text}; the model reads at most {max_tokens}",
                "shorten its slots",
            )
        for word in (prompt.answer, prompt.foil):
            if fault := _not_one_token(prompt, word, reader):
                cue = next(cue for cue, answer in cues(behavior) if answer == word)
                hint = "choose an answer that is one token there"
                yield "token", (*contrast, cue), fault, hint
    first, second = reader.tokens(pair.first.text), reader.tokens(pair.second.text)
    if first == second:
        text = f"{quoted(pair.first.text)} and {quoted(pair.second.text)} are the same tokens"
        yield "contrast", contrast, f"a contrast that changes nothing: {text}", None
    answer = reader.tokens(pair.first.text + pair.first.answer)
    if answer == reader.tokens(pair.first.text + pair.first.foil):
        text = f"{quoted(pair.first.answer)} and {quoted(pair.first.foil)} are the same token"
        yield "contrast", contrast, f"a contrast that asks nothing: {text}", None


def _not_one_token(prompt: Prompt, word: str, reader: _Reader) -> str | None:
    """Return how a word fails to be one token more after a prompt, if it does."""
    ids, both = reader.tokens(prompt.text), reader.tokens(prompt.text + word)
    after = f"the answer {quoted(word)} is not one token after {quoted(prompt.text)}"
    if both[: len(ids)] != ids:
        same = next(
            (index for index, (a, b) in enumerate(zip(ids, both, strict=False)) if a != b),
            min(len(ids), len(both)),
        )
        return f"{after}: it merges with the end of the prompt into {reader.shown(both[same:])}"
    if len(both) != len(ids) + 1:
        return (
            f"{after}: it becomes {len(both) - len(ids)} tokens ({reader.shown(both[len(ids) :])})"
        )
    return None
