"""A prompt space: one definition gives the search, the sample and the proof their prompts.

A slot that stands twice in the template has the same value in both places. Nothing here depends on
the order in which a specification lists its slots, its templates or its cues.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, product
from math import prod
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np

from pytest_circuits.spec.problems import quoted, visible
from pytest_circuits.spec.slots import Slot
from pytest_circuits.spec.template import (
    Cue,
    contrasts,
    cue_name,
    fill,
    fit_prompt,
    fit_template,
    hole_names,
    is_listed,
    parse_template,
    templates,
)
from pytest_circuits.spec.types import Behavior

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

MOST_WAYS = 20_000  # to fill the slots, of which it is seen which make the same texts

T = TypeVar("T")
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
class Group:
    """The contrast pairs of one template and two cues; rates are decided for each group.

    In each pair `first` holds the first of the two cues, see `contrasts`.
    """

    behavior: Behavior
    template: str  # its name
    contrast: tuple[Cue, Cue]

    @property
    def key(self) -> str:
        """What tells it from the other groups of its behavior; empty where there is no other."""
        (cue, _), (other, _) = self.contrast
        parts = [self.template] * (len(self.behavior.templates) > 1)
        parts += [f"{visible(cue)}/{visible(other)}"] * (len(contrasts(self.behavior)) > 1)
        return " ".join(parts)

    @property
    def name(self) -> str:
        """The same in a sentence."""
        (cue, _), (other, _) = self.contrast
        parts = [f"template {quoted(self.template)}"] * (len(self.behavior.templates) > 1)
        against = f"{quoted(cue)} against {quoted(other)}"
        return ", ".join(parts + [against] * (len(contrasts(self.behavior)) > 1))

    @property
    def size(self) -> int:
        """The number of distinct pairs; of more than MOST_WAYS ways to fill the slots, of ways."""
        ways = self.ways()
        if ways > MOST_WAYS:
            return ways
        return _distinct(self.behavior.model_dump_json(by_alias=True), self.template, self.contrast)

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
        """Give every pair with its probability, the simplest first; these sum to one.

        A pair that several ways to fill the slots make is given once, unless there are more than
        MOST_WAYS ways: then it is given for each.
        """
        every = ((self.pair(values), weight) for values, weight in self.fillings())
        if self.ways() > MOST_WAYS:
            yield from every
            return
        shares: dict[Pair, float] = {}
        for pair, weight in every:
            shares[pair] = shares.get(pair, 0.0) + weight
        yield from shares.items()

    def fillings(self, *names: str) -> Iterator[tuple[Values, float]]:
        """Give every way to fill these slots, or all, once with its probability."""
        yield from _fillings(self._slots(names))

    def pair(self, values: Values) -> Pair:
        parts = parse_template(self.behavior.templates[self.template])
        name = cue_name(self.behavior)
        (cue, answer), (other_cue, other_answer) = self.contrast
        first, second = (fill(parts, {**values, name: held}) for held in (cue, other_cue))
        return Pair(
            Prompt(first, answer, other_answer, partner=second),
            Prompt(second, other_answer, answer, partner=first),
        )

    def texts(self) -> Iterator[tuple[str, ...]]:
        """Give both texts of every pair, once for each way to fill the slots, and fast."""
        parts = parse_template(self.behavior.templates[self.template])
        name, slots = cue_name(self.behavior), self._slots()
        names = [slot for slot, _ in slots]
        for held in product(*([text for text, _ in slot.values()] for _, slot in slots)):
            values = dict(zip(names, held, strict=True))
            yield tuple(fill(parts, {**values, name: cue}) for cue, _ in self.contrast)

    def uses(self, *names: str) -> bool:
        """Whether its template has any of these slots."""
        return bool(self._slots(names))

    def _slots(self, only: Sequence[str] = ()) -> list[tuple[str, Slot]]:
        """Return the slots in the order of the template: these, or all."""
        names = hole_names(parse_template(self.behavior.templates[self.template]))
        known = [name for name in names if name in self.behavior.slots]
        return [(name, self.behavior.slots[name]) for name in known if name in only or not only]


@dataclass(frozen=True, slots=True)
class PromptSpace:
    """All contrast pairs of a behavior, of one group or several."""

    behavior: Behavior

    @property
    def groups(self) -> tuple[Group, ...]:
        """Every template with every contrast: each has prompts of its own."""
        every = product(templates(self.behavior), contrasts(self.behavior))
        return tuple(Group(self.behavior, template, contrast) for template, contrast in every)

    @property
    def size(self) -> int:
        """The number of pairs, those of each group."""
        return sum(group.size for group in self.groups)

    def strategy(self) -> SearchStrategy[Pair]:
        """Return the strategy of all pairs; it shrinks as those of the groups."""
        return either(group.strategy() for group in self.groups)

    def sample(self, n: int, *, seed: int) -> tuple[Pair, ...]:
        """Return pairs from the declared distribution, of the groups in turn."""
        groups = self.groups
        each = (group.sample(-(-n // len(groups)), seed=seed) for group in groups)
        return tuple(islice(in_turn(each), n))

    def enumerate(self) -> Iterator[tuple[Pair, float]]:
        """Give every pair of each group with its probability, the groups in turn.

        The groups are equally likely, so that the probabilities sum to one.
        """
        groups = self.groups
        every = in_turn(group.enumerate() for group in groups)
        yield from ((pair, weight / len(groups)) for pair, weight in every)

    def parse(self, text: str) -> tuple[Pair, ...]:
        """Return the pairs of which a literal prompt is one member: one for each of its foils.

        None if it fits no template. The text may hold values that its slots do not list; only the
        cue has to be one of those that are.
        """
        return tuple(group.pair(values) for group, values in self.fitting(text))

    def fitting(self, text: str) -> Iterator[tuple[Group, Values]]:
        """Give the groups that a literal prompt is in, with what its slots hold."""
        template, values = fit_prompt(self.behavior, text) or ("", {})
        cue = values.get(cue_name(self.behavior))
        for group in self.groups:
            if group.template == template and cue in dict(group.contrast):
                yield group, values

    def locate(self, pair: Pair) -> tuple[Group, Values] | None:
        """Return the group that a pair is of, and what its slots hold, as far as that is clear."""
        found = [
            (group, values)
            for group in self.groups
            if (values := self._fitted(group, pair.first.text)) and group.pair(values) == pair
        ]
        listed = (place for place in found if is_listed(self.behavior, place[1]))
        return next(listed, found[0] if found else None)

    def _fitted(self, group: Group, text: str) -> Values | None:
        return fit_template(self.behavior, self.behavior.templates[group.template], text)


@lru_cache(maxsize=1000)
def _distinct(behavior: str, template: str, contrast: tuple[Cue, Cue]) -> int:
    """Return the number of distinct pairs of a group, remembered, of a behavior as JSON."""
    return len({*Group(Behavior.model_validate_json(behavior), template, contrast).texts()})


def in_turn(several: Iterable[Iterable[T]]) -> Iterator[T]:
    """Give the items of several, one of each in turn, as long as there are any."""
    left = [iter(items) for items in several]
    while left:
        ended = []
        for items in left:
            try:
                yield next(items)
            except StopIteration:
                ended.append(items)
        left = [items for items in left if items not in ended]


def either(strategies: Iterable[SearchStrategy[T]]) -> SearchStrategy[T]:
    """Return the strategy of what any of these draws."""
    from hypothesis import strategies as st  # noqa: PLC0415

    first, *others = strategies
    return st.one_of(first, *others) if others else first


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
