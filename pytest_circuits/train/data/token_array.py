"""Token arrays that are there already: `.npy` of one dimension, or raw `.bin`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_circuits.errors import UsageError
from pytest_circuits.model.tokenizer import Tokenizer
from pytest_circuits.system.files import open_regular
from pytest_circuits.train.data.config import Tokens
from pytest_circuits.train.data.token_file import Split

_MAGIC = b"\x93NUMPY"
_CHUNK = 2**20  # token ids looked at together
_DECODED = 2**16  # token ids that are decoded as one


def open_array(path: Path, source: Tokens) -> NDArray[np.integer[Any]]:
    """Map the array into memory; UsageError unless it has one dimension of whole numbers."""
    with os.fdopen(open_regular(path, error=UsageError), "rb") as file:
        size, magic = os.fstat(file.fileno()).st_size, file.read(len(_MAGIC))
    if size == 0:
        raise UsageError(f"{path}: the file is empty")
    if source.dtype is None:
        return _numpy_array(path, magic)
    width = np.dtype(source.dtype).itemsize
    if size % width:
        raise UsageError(
            f"{path}: {size:,} bytes are not a whole number of {source.dtype}, {width} bytes each; "
            "is the file cut short, or is its dtype another?"
        )
    return np.memmap(path, np.dtype(source.dtype).newbyteorder("<"), mode="r")


def _numpy_array(path: Path, magic: bytes) -> NDArray[np.integer[Any]]:
    if magic != _MAGIC:
        raise UsageError(f"{path}: not a .npy file; write the array with numpy.save")
    try:
        array: NDArray[np.integer[Any]] = np.load(path, mmap_mode="r")
    except (ValueError, OSError) as cause:
        raise UsageError(f"{path}: not an array that can be read: {cause}") from cause
    if array.ndim != 1 or array.dtype.kind not in "iu":
        shape = " x ".join(map(str, array.shape)) or "scalar"
        raise UsageError(
            f"{path}: an array of {array.dtype}, {shape}; token ids are whole numbers in one "
            "dimension, documents one after the other"
        )
    return array


def write_array(
    array: NDArray[np.integer[Any]],
    tokenizer: Tokenizer,
    split: Split,
    *,
    path: Path,
    tell: Callable[[], None],
) -> None:
    """Copy the documents of a token array; one without ends is cut, and its tail held out.

    path: where the array lies, for the error about an id that is not one of the tokenizer's.
    """
    end = split.training.end
    is_one = _documents(array, end=end, size=tokenizer.vocab_size, path=path) < 2
    tail = len(array) - max(1, len(array) // split.every)
    document, seen = 0, 0
    for part in _pieces(array):
        is_end = part == end
        if is_one:
            held_out = np.arange(seen, seen + len(part)) >= tail  # [T]
        else:
            held_out = (document + np.cumsum(is_end) - is_end) % split.every == 0  # [T]
        for file, chosen in ((split.held_out, held_out), (split.training, ~held_out)):
            ids = np.asarray(part[chosen])
            file.add(ids, text_bytes=_text_bytes(tokenizer, ids[ids != end]))
        document, seen = document + int(np.count_nonzero(is_end)), seen + len(part)
        tell()
    split.training.end_document()
    split.held_out.end_document()


def _pieces(array: NDArray[np.integer[Any]]) -> Iterator[NDArray[np.integer[Any]]]:
    """Consecutive parts of an array, each small enough for memory."""
    for start in range(0, len(array), _CHUNK):
        yield array[start : start + _CHUNK]


def _documents(array: NDArray[np.integer[Any]], *, end: int, size: int, path: Path) -> int:
    """Number of documents; UsageError unless every id is one of the tokenizer's."""
    ends = seen = 0
    for part in _pieces(array):
        wrong = np.flatnonzero((part < 0) | (part >= size))
        if len(wrong):
            at = int(wrong[0])
            raise UsageError(
                f"{path}: token {seen + at:,} has the id {int(part[at])}, and the tokenizer has "
                f"the ids 0 to {size - 1}; the array belongs to another tokenizer"
            )
        ends, seen = ends + int(np.count_nonzero(part == end)), seen + len(part)
    return ends + int(seen > 0 and array[-1] != end)


def _text_bytes(tokenizer: Tokenizer, ids: NDArray[np.integer[Any]]) -> int:
    """Bytes of the text of token ids, to within a character at every cut."""
    parts = [ids[at : at + _DECODED].tolist() for at in range(0, len(ids), _DECODED)]
    return sum(len(text.encode()) for text in tokenizer.texts(parts))
