"""A file of token ids, documents one after the other: little-endian, as small as they fit."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pytest_circuits.errors import UsageError
from pytest_circuits.train.data.config import Frozen

_Count = Annotated[int, Field(ge=0)]


class TokenFacts(Frozen):
    """What a token file holds."""

    tokens: _Count  # with the end-of-text token of every document
    documents: _Count
    text_bytes: _Count  # of the text that the tokens stand for, in UTF-8
    sha256: str


def dtype_for(vocab_size: int) -> np.dtype[np.unsignedinteger[Any]]:
    return np.dtype("<u2" if vocab_size <= 2**16 else "<u4")


@dataclass(slots=True)
class TokenWriter:
    file: BinaryIO
    vocab_size: int
    end: int  # id of the end-of-text token
    tokens: int = 0
    documents: int = 0
    text_bytes: int = 0
    _ended: bool = True
    _sha256: Any = field(default_factory=hashlib.sha256)

    def add(self, ids: Sequence[int] | NDArray[np.integer[Any]], *, text_bytes: int) -> None:
        """Write ids that go on with the document, or begin one."""
        array = np.asarray(ids, dtype=np.int64)
        if not len(array):
            return
        if int(array.max()) >= self.vocab_size:
            raise UsageError(
                f"the tokenizer gives the id {int(array.max())} and says that it has "
                f"{self.vocab_size:,} tokens; its ids must be 0, 1, 2, ... without a gap"
            )
        content = array.astype(dtype_for(self.vocab_size)).tobytes()
        self.file.write(content)
        self._sha256.update(content)
        self.tokens += len(array)
        self.text_bytes += text_bytes
        self.documents += int(np.count_nonzero(array == self.end))
        self._ended = int(array[-1]) == self.end

    def end_document(self) -> None:
        """Write the end-of-text token, unless the last id is one."""
        if not self._ended:
            self.add([self.end], text_bytes=0)

    def close(self) -> TokenFacts:
        """Bring everything to the disk."""
        self.file.flush()
        os.fsync(self.file.fileno())
        return TokenFacts(
            tokens=self.tokens,
            documents=self.documents,
            text_bytes=self.text_bytes,
            sha256=self._sha256.hexdigest(),
        )


@dataclass(frozen=True, slots=True)
class Split:
    """The two files of a source: every so manyth document is held out."""

    training: TokenWriter
    held_out: TokenWriter
    every: int

    def of(self, index: int) -> TokenWriter:
        return self.held_out if index % self.every == 0 else self.training


def open_tokens(path: Path, *, vocab_size: int) -> NDArray[np.unsignedinteger[Any]]:
    return np.memmap(path, dtype_for(vocab_size), mode="r")
