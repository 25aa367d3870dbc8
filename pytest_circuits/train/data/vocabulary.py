"""The tokenizer of a corpus: learnt on its training documents, or read from a file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pytest_circuits.errors import ModelError, UsageError
from pytest_circuits.model.tokenizer import MAX_BYTES, Tokenizer, load_tokenizer, train_tokenizer
from pytest_circuits.system.files import read_bounded, write_atomic

END_OF_TEXT = "<|endoftext|>"  # follows every document
LEARNT_ON = 64 * 10**6  # bytes of text at most


def learn(texts: Iterable[str], path: Path, *, vocab_size: int) -> Tokenizer:
    """Learn byte-level BPE and write `tokenizer.json`."""
    tokenizer = train_tokenizer(texts, vocab_size=vocab_size, special=(END_OF_TEXT,))
    tokenizer.save(path)
    return tokenizer


def adopt(source: Path, path: Path) -> Tokenizer:
    """Copy a tokenizer that can end a document."""
    content = read_bounded(source, max_bytes=MAX_BYTES, error=ModelError)
    end_of(load_tokenizer(source), source=source)
    write_atomic(path, content)
    return load_tokenizer(path)


def end_of(tokenizer: Tokenizer, *, source: Path) -> int:
    """Id of the end-of-text token; UsageError where there is none."""
    end = tokenizer.id_of(END_OF_TEXT)
    if end is None:
        raise UsageError(
            f"{source}: has no token {END_OF_TEXT!r}, which follows every document; add it to the "
            "tokenizer as a special token"
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
