"""Text files as the windows that a reference is measured on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from pytest_circuits.errors import UsageError
from pytest_circuits.system.files import read_bounded

MIN_WINDOWS = 16
_MAX_BYTES = 2**28


def text_windows(
    paths: Sequence[Path], encode: Callable[[str], list[int]], *, length: int
) -> Tensor:
    """Texts one after the other, cut into windows of `length` tokens: [R, T] ids.

    Raises:
        UsageError: a file cannot be read as UTF-8, or there is too little text.

    """
    ids: list[int] = []
    for path in paths:
        content = read_bounded(path, max_bytes=_MAX_BYTES, error=UsageError)
        try:
            ids += encode(content.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise UsageError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    count = len(ids) // length
    if count < MIN_WINDOWS:
        raise UsageError(
            f"the text has {len(ids)} tokens; a reference needs at least {MIN_WINDOWS * length} "
            f"({MIN_WINDOWS} windows of {length})"
        )
    return torch.tensor(ids[: count * length]).view(count, length)
