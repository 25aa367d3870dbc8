"""Documents to token files: every so manyth document is held out, the rest is trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as Backend

from pytest_circuits.model.tokenizer import Tokenizer
from pytest_circuits.train.data.token_array import pieces, refuse_unknown
from pytest_circuits.train.data.token_file import TokenWriter

_BATCH = 2**21  # characters that are encoded together
_PIECE = 2**18  # characters of a document that are encoded as one
_DECODED = 2**16  # token ids that are decoded as one


@dataclass(frozen=True, slots=True)
class Split:
    """The two files of a source."""

    training: TokenWriter
    held_out: TokenWriter
    every: int

    def of(self, index: int) -> TokenWriter:
        """The file that a document goes to."""
        return self.held_out if index % self.every == 0 else self.training


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of a document, small enough to be encoded at once."""

    document: int
    text: str
    last: bool


def write_texts(
    texts: Iterable[str], tokenizer: Tokenizer, split: Split, *, tell: Callable[[], None]
) -> None:
    """Encode documents in batches; call `tell` after each."""
    for batch in _batches(texts):
        encoded = tokenizer.encode_batch([piece.text for piece in batch])
        for piece, ids in zip(batch, encoded, strict=True):
            file = split.of(piece.document)
            file.add(ids, text_bytes=len(piece.text.encode()))
            if piece.last:
                file.end_document()
        tell()


def _batches(texts: Iterable[str]) -> Iterator[list[_Piece]]:
    batch: list[_Piece] = []
    characters = 0
    for index, text in enumerate(texts):
        parts = list(cut(text, most=_PIECE))
        for number, part in enumerate(parts, start=1):
            batch.append(_Piece(index, part, number == len(parts)))
            characters += len(part) + 64  # many short documents take memory too
            if characters > _BATCH:
                yield batch
                batch, characters = [], 0
    if batch:
        yield batch


def cut(text: str, *, most: int) -> Iterator[str]:
    """Parts of a long text, where possible at the end of a line that text follows.

    A byte-level BPE splits words from the white space before them, so it gives such parts the ids
    that it gives the whole.
    """
    start = 0
    while len(text) - start > most:
        end = start + most
        at = text.rfind("\n", start, end)
        while at > start and text[at + 1].isspace():
            at = text.rfind("\n", start, at)
        end = at + 1 if at > start else end
        yield text[start:end]
        start = end
    yield text[start:]


@dataclass(frozen=True, slots=True)
class TokenArray:
    """Token ids that are there already, and whose they are."""

    path: Path
    ids: NDArray[np.integer[Any]]
    tokenizer: Path
    vocab_size: int


def write_array(source: TokenArray, split: Split, *, tell: Callable[[], None]) -> None:
    """Copy the documents of a token array; one without ends is cut, and its tail held out."""
    backend = Backend.from_file(str(source.tokenizer))
    end = split.training.end
    is_one = _documents(source, end=end) < 2
    tail = len(source.ids) - max(1, len(source.ids) // split.every)
    document, seen = 0, 0
    for part in pieces(source.ids):
        is_end = part == end
        if is_one:
            held_out = np.arange(seen, seen + len(part)) >= tail  # [T]
        else:
            held_out = (document + np.cumsum(is_end) - is_end) % split.every == 0  # [T]
        for file, chosen in ((split.held_out, held_out), (split.training, ~held_out)):
            ids = np.asarray(part[chosen])
            file.add(ids, text_bytes=_text_bytes(backend, ids[ids != end]))
        document, seen = document + int(np.count_nonzero(is_end)), seen + len(part)
        tell()
    split.training.end_document()
    split.held_out.end_document()


def _documents(source: TokenArray, *, end: int) -> int:
    """Number of documents; UsageError unless every id is one of the tokenizer's."""
    ends = seen = 0
    for part in pieces(source.ids):
        refuse_unknown(part, start=seen, size=source.vocab_size, path=source.path)
        ends, seen = ends + int(np.count_nonzero(part == end)), seen + len(part)
    return ends + int(seen > 0 and source.ids[-1] != end)


def _text_bytes(backend: Backend, ids: NDArray[np.integer[Any]]) -> int:
    """Bytes of the text of token ids, to within a character at every cut."""
    parts = [ids[at : at + _DECODED].tolist() for at in range(0, len(ids), _DECODED)]
    texts: list[str] = backend.decode_batch(parts, skip_special_tokens=False)
    return sum(len(text.encode()) for text in texts)
