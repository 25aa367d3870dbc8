"""Token arrays that are there already: `.npy` of one dimension, or raw `.bin`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_circuits.errors import UsageError
from pytest_circuits.train.data.config import Tokens
from pytest_circuits.train.data.regular import open_regular

_MAGIC = b"\x93NUMPY"
_CHUNK = 2**20  # token ids looked at together


def open_array(path: Path, source: Tokens) -> NDArray[np.integer[Any]]:
    """Map the array into memory; UsageError unless it has one dimension of whole numbers."""
    with open_regular(path) as file:
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


def pieces(array: NDArray[np.integer[Any]]) -> Iterator[NDArray[np.integer[Any]]]:
    """Consecutive parts of an array, each small enough for memory."""
    for start in range(0, len(array), _CHUNK):
        yield array[start : start + _CHUNK]


def refuse_unknown(part: NDArray[np.integer[Any]], *, start: int, size: int, path: Path) -> None:
    """Raise unless every id is one of the vocabulary's."""
    wrong = np.flatnonzero((part < 0) | (part >= size))
    if len(wrong):
        at = int(wrong[0])
        raise UsageError(
            f"{path}: token {start + at:,} has the id {int(part[at])}, and the tokenizer has the "
            f"ids 0 to {size - 1}; the array belongs to another tokenizer"
        )
