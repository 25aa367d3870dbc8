"""Text to token files: the tokenizer that is learnt or read, and documents encoded by it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_circuits.errors import ModelError, UsageError
from pytest_circuits.model.tokenizer import END_OF_TEXT, MAX_BYTES, Tokenizer, load_tokenizer
from pytest_circuits.system.files import read_bounded, write_atomic
from pytest_circuits.train.data.token_file import Split

LEARNT_ON = 64 * 10**6  # bytes of text at most
_BATCH = 2**21  # characters that are encoded together
_PIECE = 2**18  # characters of a document that are encoded as one


def adopt(source: Path, path: Path, *, end: str | None = None) -> Tokenizer:
    """Copy a tokenizer that can end a document, by the token `end` if it is named."""
    content = read_bounded(source, max_bytes=MAX_BYTES, error=ModelError)
    end_of(load_tokenizer(source), source=source, named=end)
    write_atomic(path, content)
    return load_tokenizer(path)


def end_of(tokenizer: Tokenizer, *, source: Path, named: str | None = None) -> int:
    """Id of the end-of-text token; UsageError where there is none."""
    token = named or END_OF_TEXT
    end = tokenizer.id_of(token)
    if end is None:
        raise UsageError(
            f"{source}: has no token {token!r}, which follows every document; add it to the "
            "tokenizer as a special token, or name the one that it has (data.tokenizer.end)"
        )
    return end


def spread(texts: Iterable[str], *, most: int) -> list[str]:
    """Every so manyth text, evenly from the first to the last, of at most `most` bytes in all."""
    kept: list[str] = []
    size, stride = 0, 1
    for index, text in enumerate(texts):
        if index % stride:
            continue
        kept.append(text)
        size += len(text.encode())
        while size > most and len(kept) > 1:
            kept, stride = kept[::2], 2 * stride
            size = sum(len(text.encode()) for text in kept)
    return [text.encode()[:most].decode(errors="ignore") for text in kept]


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
            file = split.training if piece.document % split.every else split.held_out
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
