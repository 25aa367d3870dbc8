"""Sorts of tokens that can be named in plain words, as masks over a vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pytest_circuits.model.protocol import Model
from pytest_circuits.show.layout import token
from pytest_circuits.show.observed import Bools, Ints

FEW = (1, 2, 3)  # tokens that are named, rather than a kind of token
MORE = (5, 8, 12)
MARKS = "\"'()[]{}:=,.#"


@dataclass(frozen=True, slots=True, eq=False)
class Sort:
    """A sort of tokens: in words, and which ids it has; the last place is for no token at all."""

    says: str
    ids: Bools  # [V + 1]


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary:
    """The tokens of a model and the kinds of them that have a name."""

    tokens: tuple[str, ...]
    kinds: tuple[Sort, ...]

    @classmethod
    def of(cls, model: Model) -> Vocabulary:
        """Return the vocabulary of a model."""
        tokens = tuple(map(model.decode_token, range(model.vocab_size)))
        found = []
        for says, test in _kinds():
            ids = np.array([*map(test, tokens), False])
            if ids.any():
                found.append(Sort(says, ids))
        return cls(tokens, tuple(found))

    def some(self, chosen: Sequence[int]) -> Sort:
        """Return a sort of a few tokens, each of which is named."""
        ids = np.zeros(len(self.tokens) + 1, dtype=bool)
        ids[list(chosen)] = True
        return Sort(one_of([named(self.tokens[i]) for i in chosen]), ids)

    def few(self, ranked: Sequence[int]) -> Iterator[Sort]:
        """Give one, two and three of the ranked tokens, as far as there are so many."""
        yield from (self.some(ranked[:size]) for size in FEW if size <= len(ranked))

    def more(self, ranked: Sequence[int]) -> Iterator[Sort]:
        """Give what is said less easily: kinds of tokens, and longer lists of the ranked ones."""
        yield from self.kinds
        sizes = sorted({min(size, len(ranked)) for size in MORE})
        yield from (self.some(ranked[:size]) for size in sizes if size > max(FEW))

    def counted(self, ids: Ints) -> Ints:
        """How often each token is there, [V + 1]; -1 counts as none."""
        return np.bincount(ids % (len(self.tokens) + 1), minlength=len(self.tokens) + 1)


def named(text: str) -> str:
    """A token as it stands in a sentence."""
    spaces = len(text)
    return f"{spaces} spaces" if spaces > 1 and not text.strip(" ") else token(text)


def one_of(names: Sequence[str]) -> str:
    """Names as they stand in a sentence: `a, b or c`."""
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def _kinds() -> Iterator[tuple[str, Callable[[str], bool]]]:
    yield "a line break", lambda text: "\n" in text
    yield "white space alone", str.isspace
    yield "a number", lambda text: text.strip().isdigit()
    yield "a word after a space", lambda text: text[:1] == " " and text[1:].isalpha()
    yield "letters without a space before them", str.isalpha
    yield "letters", lambda text: text.strip().isalpha()
    yield "capital letters", lambda text: text.strip().isalpha() and text.strip().isupper()
    yield "marks, without letters or digits", _is_mark
    for mark in MARKS:
        yield f"a token with {mark} in it", lambda text, mark=mark: mark in text  # type: ignore[misc]


def _is_mark(text: str) -> bool:
    return bool(text.strip()) and not any(char.isalnum() for char in text)
