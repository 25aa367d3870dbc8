"""The kinds of slots: what each accepts in YAML, holds, is drawn from and is written as.

A kind is a class here, with one key by which YAML names it, and a line of `Slot`. Each has

size: the number of ways to fill it; not positive where its bounds are reversed.
longest: at least as many characters as a text of it has.
draw: a random text, from a source of uniform whole numbers below a bound.
values: every text with its probability, that of a draw; the simplest first.
strategy: of its texts; it shrinks to the simplest.
holds: whether it can hold a text.
neighbors: the texts that are near one that it holds.
faults: what is wrong with it beyond its types; `loc` is where it stands.
lines: of YAML, under its name as YAML has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Annotated, get_args

from pydantic import Discriminator, Field, Tag

from pytest_circuits.spec.frozen import UNIQUE, Frozen, Text
from pytest_circuits.spec.problems import Fault, Loc, repeated
from pytest_circuits.spec.yaml_text import flow_list, indented, scalar_text, wrapped

if TYPE_CHECKING:  # an import that costs 0.2 s
    from hypothesis.strategies import SearchStrategy

_Count = Annotated[int, Field(ge=0, le=100)]
_Integer = Annotated[int, Field(ge=0, le=10**9)]
_STEPS = (1, 2, 5, 10, 100, 1000)  # from one whole number to its neighbors
_SMALL, _NOWHERE = 100, 3**50  # what no module's numbers are below, and nowhere near
_INDENT = 6  # of a slot in a file, with some room


class ChoiceSlot(Frozen):
    """One of a list of texts, each equally likely; the first is the simplest."""

    choice: Annotated[tuple[str, ...], Field(min_length=1, max_length=1000), UNIQUE]
    """The texts; the first is the simplest."""

    @property
    def size(self) -> int:
        return len(self.choice)

    @property
    def longest(self) -> int:
        return max(map(len, self.choice))

    def draw(self, below: Callable[[int], int]) -> str:
        return self.choice[below(self.size)]

    def values(self) -> Iterator[tuple[str, float]]:
        yield from ((text, 1 / self.size) for text in self.choice)

    def strategy(self) -> SearchStrategy[str]:
        return _one_of(self.choice)

    def holds(self, text: str) -> bool:
        return text in self.choice

    def neighbors(self, text: str) -> Iterator[str]:
        yield from (other for other in self.choice if other != text)

    def faults(self, loc: Loc) -> Iterator[Fault]:
        yield from repeated((*loc, "choice"), self.choice, what="text")

    def lines(self, name: str) -> Iterator[str]:
        texts = map(scalar_text, self.choice)
        yield from wrapped(f"{name}: {{choice: [", texts, "]}", indent=_INDENT)


class WordList(Frozen):
    """How many words a `words` slot joins, and from which list they come."""

    from_: Annotated[tuple[Text, ...], Field(alias="from", min_length=1, max_length=1000), UNIQUE]
    """The words, each equally likely; the first is the simplest."""
    count: tuple[_Count, _Count]
    """The least and the most words, both included, each number equally likely."""
    separator: Annotated[str, Field(max_length=16)] = " "
    """What stands between two words."""


class WordsSlot(Frozen):
    """Several words joined by a separator: the count uniform, then each word uniform."""

    words: WordList
    """Which words, and how many."""

    @property
    def size(self) -> int:
        return sum(len(self.words.from_) ** count for count in self._counts())

    @property
    def longest(self) -> int:
        word = max(map(len, self.words.from_))
        return max(self.words.count) * (word + len(self.words.separator))

    def draw(self, below: Callable[[int], int]) -> str:
        words, counts = self.words.from_, self._counts()
        count = counts[below(len(counts))]
        return self.words.separator.join(words[below(len(words))] for _ in range(count))

    def values(self) -> Iterator[tuple[str, float]]:
        words, counts = self.words.from_, self._counts()
        for count in counts:
            weight = 1 / len(counts) / len(words) ** count
            for chosen in product(words, repeat=count):
                yield self.words.separator.join(chosen), weight

    def strategy(self) -> SearchStrategy[str]:
        from hypothesis import strategies as st  # noqa: PLC0415  (see above)

        (least, most), words = self.words.count, _one_of(self.words.from_)
        return st.lists(words, min_size=least, max_size=most).map(self.words.separator.join)

    def holds(self, text: str) -> bool:
        words = self._split(text)
        return len(words) in self._counts() and set(words) <= set(self.words.from_)

    def neighbors(self, text: str) -> Iterator[str]:
        yield from map(self.words.separator.join, self._changed(self._split(text)))

    def faults(self, loc: Loc) -> Iterator[Fault]:
        yield from repeated((*loc, "words", "from"), self.words.from_, what="word")
        yield from _reversed((*loc, "words", "count"), self.words.count)

    def lines(self, name: str) -> Iterator[str]:
        words = map(scalar_text, self.words.from_)
        yield f"{name}:"
        yield "  words:"
        yield from indented(wrapped("from: [", words, "]", indent=_INDENT + 4), by=4)
        yield f"    count: {flow_list(self.words.count)}"
        if self.words.separator != " ":
            yield f"    separator: {scalar_text(self.words.separator)}"

    def _counts(self) -> range:
        least, most = self.words.count
        return range(least, most + 1)

    def _split(self, text: str) -> list[str]:
        """The words that a text joins; of one that is no value, what separators stand between."""
        if not text:
            return []
        apart = text.split(self.words.separator) if self.words.separator else list(text)
        if len(apart) in self._counts() and set(apart) <= set(self.words.from_):
            return apart
        return self._joined(text) or apart

    def _joined(self, text: str) -> list[str]:
        """The words, some of which may hold the separator, that a text joins; empty: none do."""
        words, separator = set(self.words.from_), self.words.separator
        lengths = sorted({len(word) for word in words})
        begun: dict[int, list[str]] = {0: []}  # by where the next word would begin
        for count in range(1, self.words.count[1] + 1):
            ends = {
                at + length: [*before, text[at : at + length]]
                for at, before in begun.items()
                for length in lengths
                if text[at : at + length] in words
            }
            if count in self._counts() and len(text) in ends:
                return ends[len(text)]
            begun = {
                end + len(separator): before
                for end, before in ends.items()
                if text.startswith(separator, end)
            }
        return []

    def _changed(self, words: list[str]) -> Iterator[list[str]]:
        """Give lists with one word exchanged, left out or put in."""
        least, most = self.words.count
        for place, old in enumerate(words):
            before, after = words[:place], words[place + 1 :]
            yield from ([*before, word, *after] for word in self.words.from_ if word != old)
            if len(words) > least:
                yield [*before, *after]
        for place in range(len(words) + 1) if len(words) < most else ():
            yield from ([*words[:place], word, *words[place:]] for word in self.words.from_)


class IntegerSlot(Frozen):
    """A whole number between two bounds, both included, each equally likely."""

    integer: tuple[_Integer, _Integer]
    """The least and the greatest number."""

    @property
    def size(self) -> int:
        return self.integer[1] - self.integer[0] + 1

    @property
    def longest(self) -> int:
        return len(str(max(self.integer)))

    def draw(self, below: Callable[[int], int]) -> str:
        return str(self.integer[0] + below(self.size))

    def values(self) -> Iterator[tuple[str, float]]:
        least, most = self.integer
        yield from ((str(number), 1 / self.size) for number in range(least, most + 1))

    def strategy(self) -> SearchStrategy[str]:
        return _below(self.size).map(lambda step: str(self.integer[0] + step))

    def holds(self, text: str) -> bool:
        least, most = self.integer
        return text.isdecimal() and str(int(text)) == text and least <= int(text) <= most

    def neighbors(self, text: str) -> Iterator[str]:
        least, most = self.integer
        near = {least, most, *(int(text) + s * step for step in _STEPS for s in (1, -1))}
        yield from (str(n) for n in sorted(near) if least <= n <= most and str(n) != text)

    def faults(self, loc: Loc) -> Iterator[Fault]:
        yield from _reversed((*loc, "integer"), self.integer)

    def lines(self, name: str) -> Iterator[str]:
        yield from wrapped(f"{name}: {{integer: [", map(str, self.integer), "]}", indent=_INDENT)


def _one_of(texts: Sequence[str]) -> SearchStrategy[str]:
    """Return the strategy of these texts; it shrinks to the first."""
    return _below(len(texts)).map(texts.__getitem__)


def _below(count: int) -> SearchStrategy[int]:
    """Return the strategy of whole numbers below a count; it shrinks to 0.

    Hypothesis proposes numbers of 100 and more that stand in modules which happen to be imported.
    Of a range of as many it is asked for numbers that stand nowhere.
    """
    from hypothesis import strategies as st  # noqa: PLC0415  (see above)

    first = _NOWHERE if count > _SMALL else 0
    return st.integers(first, first + count - 1).map(lambda number: number - first)


def _reversed(loc: Loc, bounds: tuple[int, int]) -> Iterator[Fault]:
    least, most = bounds
    if least > most:
        yield Fault(
            loc, f"the bounds are reversed: {least} is more than {most}", f"write [{most}, {least}]"
        )


def _key_of(value: object) -> str | None:
    """Return the kind of a slot by its key, so that problems are those of one kind."""
    held = value if isinstance(value, Mapping) else getattr(type(value), "model_fields", ())
    return next((kind for kind in SLOT_KINDS if kind in held), None)


Slot = Annotated[
    Annotated[ChoiceSlot, Tag("choice")]
    | Annotated[WordsSlot, Tag("words")]
    | Annotated[IntegerSlot, Tag("integer")],
    Discriminator(_key_of),
]
# How YAML names them, in the order in which messages list them.
SLOT_KINDS = tuple(get_args(kind)[1].tag for kind in get_args(get_args(Slot)[0]))
