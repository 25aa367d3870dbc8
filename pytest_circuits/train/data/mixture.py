"""Rows of a batch: a function of (seed, step), so the order of the data has no state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_circuits.errors import UsageError


@dataclass(frozen=True, slots=True)
class Mixture:
    """Token streams by the names of their sources, and the weights that mix them."""

    streams: Mapping[str, NDArray[np.integer[Any]]]
    shares: Mapping[str, float]

    def rows(self, *, seed: int, step: int, count: int, length: int) -> Tensor:
        """`count` windows of `length` tokens, [count, length] int64."""
        rng = np.random.Generator(np.random.Philox(key=[seed, step]))
        streams = list(self.streams.values())
        edges = np.cumsum([self.shares[name] for name in self.streams])
        sources = np.searchsorted(edges[:-1], rng.random(count) * edges[-1], side="right")
        starts = rng.integers(np.array([len(stream) - length + 1 for stream in streams])[sources])
        rows = np.empty((count, length), dtype=np.int64)
        for row, source, start in zip(rows, sources, starts, strict=True):
            row[:] = streams[source][start : start + length]
        return torch.from_numpy(rows)

    def only(self, name: str) -> Mixture:
        """The rows of one source alone."""
        return Mixture({name: self.streams[name]}, {name: 1.0})

    def check(self, length: int) -> None:
        """Raise UsageError unless every stream has a window of that many tokens."""
        for name, stream in self.streams.items():
            if len(stream) < length:
                raise UsageError(
                    f"a row takes {length:,} tokens (max_tokens and the one after), and the "
                    f"source {name!r} has {len(stream):,} here; give it more text, change how "
                    "much of it is held out (data.held_out), or lower max_tokens"
                )
