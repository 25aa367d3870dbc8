"""The tokenizer of a model that is handed over, in whatever form its owner has it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Backend

from pytest_circuits.errors import ModelError
from pytest_circuits.model.huggingface.vocabulary import TOKENIZER, Vocabulary, load_vocabulary
from pytest_circuits.model.spelling import spelled
from pytest_circuits.model.tokenizer import Tokenizer, load_tokenizer, tokenizer_of
from pytest_circuits.spec.problems import quoted


@dataclass(frozen=True)
class OwnTokenizer:
    """An object of the owner's, which has `encode(text)` and `decode(ids)`."""

    made: Any = field(repr=False)
    rows: int

    @cached_property
    def digest(self) -> str:
        """sha256 of the text of each token."""
        texts = json.dumps([self.token(index) for index in range(self.rows)])
        return hashlib.sha256(texts.encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Token ids; ModelError where the object gives none, or such as the model does not have."""
        kind = type(self.made).__name__
        try:
            found = [int(index) for index in self.made.encode(text)]
        except Exception as error:  # whatever the code of a user raises
            raise ModelError(
                f"the tokenizer that was handed over gives no token ids for {quoted(text)}: its "
                f"{kind}.encode: {type(error).__name__}: {error}"
            ) from error
        if strange := [index for index in found if not 0 <= index < self.rows]:
            raise ModelError(
                f"the tokenizer that was handed over gives {strange[0]} for {quoted(text)}, and "
                f"the model knows tokens 0 to {self.rows - 1} ({kind}.encode)"
            )
        return found

    def spans(self, text: str) -> list[tuple[int, int]]:
        return spelled(text, self.encode(text), self.token)

    def token(self, index: int) -> str:
        try:
            return str(self.made.decode([index]))
        except (IndexError, KeyError):  # the embedding may have more rows than there are tokens
            return f"<{index}>"


def vocabulary_of(
    tokenizer: object, *, path: Path, rows: int, prefix: Sequence[int] | None
) -> Vocabulary:
    """What encodes for a model; ModelError where it is none, or does not fit.

    tokenizer: a `tokenizer.json` or the folder of one, a tokenizer of the library `tokenizers` or a
    fast one of transformers, or an object with `encode(text)` and `decode(ids)`. rows: of the
    embedding. prefix: put before every text; None: what the tokenizer itself puts there.
    """
    if any(not isinstance(index, int) or not 0 <= index < rows for index in prefix or ()):
        raise ModelError(
            f"prefix: {list(prefix or ())} are not token ids, whole numbers below {rows}"
        )
    if isinstance(tokenizer, str | os.PathLike) and Path(tokenizer).is_dir():
        found = load_vocabulary(Path(tokenizer), rows=rows)
        return found if prefix is None else Vocabulary(tuple(prefix), found.tokenizer)
    made = _made(tokenizer, path, rows)
    if isinstance(made, Tokenizer) and made.largest_id >= rows:
        raise ModelError(
            f"{path}: its tokenizer has ids up to {made.largest_id}, and the model logits for "
            f"{rows} tokens; hand over the one that it was trained with"
        )
    own = made.put_before() if isinstance(made, Tokenizer) and prefix is None else ()
    return Vocabulary(tuple(own if prefix is None else prefix), made)


def _made(tokenizer: object, path: Path, rows: int) -> Tokenizer | OwnTokenizer:
    if isinstance(tokenizer, str | os.PathLike):
        return load_tokenizer(Path(tokenizer), special=True)
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if isinstance(backend, Backend):
        return tokenizer_of(backend, special=True)
    if all(callable(getattr(tokenizer, name, None)) for name in ("encode", "decode")):
        return OwnTokenizer(tokenizer, rows)
    raise ModelError(
        f"{path}: {type(tokenizer).__name__} is no tokenizer; hand over a {TOKENIZER}, a tokenizer "
        "of the library `tokenizers` or of transformers, or an object with encode(text) and "
        "decode(ids)"
    )
