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

from pytest_circuits.spec.slots import Slot
from pytest_circuits.spec.template import (
    cue_name,
    cues,
    fill,
    fit_prompt,
    hole_names,
    parse_template,
)
from pytest_circuits.spec.types import Behavior

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Values: TypeAlias = "Mapping[str, str]"  # what each slot holds


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text, the token that should follow it and the one that should not."""

    text: str
    answer: str
    foil: str
    partner: str = ""  # text of the other prompt of its contrast pair; empty: it is in none


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
        """Return independent pairs from the declared distribution; a seed is at least 0."""
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
        parts = parse_template(self.behavior.prompt)
        name = cue_name(self.behavior)
        (cue, answer), (other_cue, other_answer) = cues(self.behavior)
        first, second = (fill(parts, {**values, name: held}) for held in (cue, other_cue))
        return Pair(
            Prompt(first, answer, other_answer, partner=second),
            Prompt(second, other_answer, answer, partner=first),
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
