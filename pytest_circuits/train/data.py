"""Batches of tokens: a batch is a function of (seed, step), so the data order has no state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from pytest_circuits.train.corpus import END_OF_TEXT

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from pytest_circuits.model.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Mixture:
    """Two token streams, documents separated by the end-of-text token, and how they are mixed."""

    library: NDArray[np.uint16]
    generated: NDArray[np.uint16]
    generated_share: float

    def rows(self, *, seed: int, step: int, count: int, length: int) -> Tensor:
        """`count` windows of `length` tokens, [count, length] int64."""
        rng = np.random.Generator(np.random.Philox(key=[seed, step]))
        streams = [
            self.generated if drawn < self.generated_share else self.library
            for drawn in rng.random(count)
        ]
        starts = [int(rng.integers(len(stream) - length)) for stream in streams]
        windows = [s[i : i + length] for s, i in zip(streams, starts, strict=True)]
        return torch.from_numpy(np.stack(windows).astype(np.int64))


def stream(texts: list[str], tokenizer: Tokenizer) -> NDArray[np.uint16]:
    """Token ids of documents one after the other, each followed by the end-of-text token."""
    end = tokenizer.id_of(END_OF_TEXT)
    if end is None or tokenizer.vocab_size > 2**16:
        raise ValueError(f"the tokenizer needs {END_OF_TEXT!r} and at most 65536 tokens")
    ids = [
        np.asarray([*document, end], dtype=np.uint16) for document in tokenizer.encode_batch(texts)
    ]
    return np.concatenate(ids)
