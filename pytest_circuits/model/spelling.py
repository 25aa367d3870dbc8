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
    """The characters of tokens that spell a text one after the other; else ModelError."""
    texts, found, at = [decode(token) for token in tokens], list[Span](), 0
    for each in texts:
        found.append((at, at + len(each)))
        at += len(each)
    if "".join(texts) != text:
        raise ModelError(
            f"the tokens of {quoted(text)} spell {quoted(''.join(texts))}, so that nobody knows "
            "where in it the cue or a slot is; with this tokenizer, nodes count at all tokens alone"
        )
    return found
