"""The tokens of a model of transformers: `tokenizer.json`, and what is put before every text."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pytest_circuits.errors import ModelError
from pytest_circuits.model.tokenizer import Tokenizer, load_tokenizer
from pytest_circuits.system.files import parse_json, read_bounded

TOKENIZER, SETTINGS = "tokenizer.json", "tokenizer_config.json"
_MAX_BYTES = 2**24


class Encodes(Protocol):
    """What makes tokens of a text: a `Tokenizer`, or what stands for one."""

    @property
    def digest(self) -> str:
        """sha256 of all that decides which tokens a text becomes."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; nothing is added to it."""

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Of each token the characters that it holds."""

    def token(self, index: int) -> str:
        """The text of one token."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Text to token ids, as a model of transformers is given it.

    Special tokens that are written out in a text, as chat templates do, are those tokens.
    """

    prefix: tuple[int, ...]  # ids that are put before every text: the beginning of a sequence
    tokenizer: Encodes = field(repr=False)

    @property
    def digest(self) -> str:
        """sha256 of all that decides which tokens a text becomes."""
        if not self.prefix:
            return self.tokenizer.digest
        return hashlib.sha256(f"{self.tokenizer.digest} {self.prefix}".encode()).hexdigest()

    @property
    def description(self) -> str:
        if not self.prefix:
            return "no token put before a text"
        return f"{' '.join(map(self.token, self.prefix))} before every text"

    def encode(self, text: str) -> list[int]:
        return [*self.prefix, *self.tokenizer.encode(text)]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Of each token the characters that it holds; what is put before a text holds none."""
        return [*[(0, 0)] * len(self.prefix), *self.tokenizer.spans(text)]

    def token(self, index: int) -> str:
        return self.tokenizer.token(index)


def load_vocabulary(path: Path, *, rows: int) -> Vocabulary:
    """Read the tokenizer of a model directory; ModelError where it does not fit the model.

    rows: of the embedding.
    """
    file = path / TOKENIZER
    if not file.exists():
        raise ModelError(
            f"{path}: has no {TOKENIZER}, and no other tokenizer is read; write it with "
            f"`AutoTokenizer.from_pretrained(...).save_pretrained({str(path)!r})`"
        )
    tokenizer = load_tokenizer(file, special=True)
    if tokenizer.largest_id >= rows:
        raise ModelError(
            f"{file}: has ids up to {tokenizer.largest_id}, but the embedding has {rows} rows; "
            "take the tokenizer that the model was trained with"
        )
    return Vocabulary(tuple(_prefix(tokenizer, path / SETTINGS)), tokenizer)


def _prefix(tokenizer: Tokenizer, settings: Path) -> list[int]:
    """What is put before a text: what tokenizer.json says, and `add_bos_token` where it is said."""
    before = tokenizer.put_before()
    if not settings.exists():
        return before
    content = read_bounded(settings, max_bytes=_MAX_BYTES, error=ModelError)
    said = parse_json(content, source=str(settings), error=ModelError)
    if said.get("add_bos_token") is False:
        return []
    if said.get("add_bos_token") is True and not before:
        text: Any = said.get("bos_token")
        text = text.get("content") if isinstance(text, dict) else text
        index = tokenizer.id_of(str(text))
        if index is None:
            raise ModelError(
                f"{settings}: asks for a token at the beginning ({text!r}) that {TOKENIZER} lacks"
            )
        return [index]
    return before
