"""Which characters of a text each of its tokens holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from pytest_circuits.errors import ModelError
from pytest_circuits.model.protocol import Model
from pytest_circuits.spec.problems import quoted

Span: TypeAlias = tuple[int, int]  # the first character, and the one behind the last


@runtime_checkable
class Spells(Protocol):
    """A model, or its tokenizer, that says which characters its tokens hold."""

    def spans(self, text: str) -> list[Span]:
        """Of each token that `encode` gives the characters; of one that holds none, (0, 0)."""


def spans_of(model: Model, text: str) -> list[Span]:
    """The characters of each token of a text; ModelError where nobody knows."""
    if isinstance(model, Spells):
        return model.spans(text)
    return spelled(text, model.encode(text), model.decode_token)


def spelled(text: str, tokens: Sequence[int], decode: Callable[[int], str]) -> list[Span]:
    """The characters of tokens that spell a text one after the other; else ModelError.

    Tokens that are decoded one by one may have spaces that the text has not, or lack some.
    """
    texts = [decode(token) for token in tokens]
    if "".join(texts) == text:
        return _one_after_the_other(texts, range(len(text)))
    letters = ["".join(each.split()) for each in texts]
    if "".join(letters) != "".join(text.split()):
        raise ModelError(
            f"the tokens of {quoted(text)} spell {quoted(''.join(texts))}, so that nobody knows "
            "where in it the cue or a slot is; with this tokenizer, nodes count at all tokens alone"
        )
    return _one_after_the_other(letters, [i for i, c in enumerate(text) if not c.isspace()])


def _one_after_the_other(texts: Sequence[str], places: Sequence[int]) -> list[Span]:
    """Spans of texts that follow each other; places: of each of their characters."""
    found, at = list[Span](), 0
    for each in texts:
        end = at + len(each)
        found.append((places[at], places[end - 1] + 1) if each else (0, 0))
        at = end
    return found
