"""What a claim is: the runs that its law compares, when the law breaks, and how it is decided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pytest_circuits.changes import ChangeSpace
    from pytest_circuits.circuit import Runner, View
    from pytest_circuits.claims.bench import Bench
    from pytest_circuits.claims.evidence import Evidence, Law
    from pytest_circuits.claims.statistics import Bools, Floats
    from pytest_circuits.prompts import Pair, Prompt

Breaks = Callable[[tuple["Floats", ...], float], "Bools"]
Violation = Callable[["Pair", int, tuple["Floats", ...]], str]


@dataclass(frozen=True, slots=True)
class Run:
    """A named way to run a model over prompts."""

    name: str
    margins: Callable[[Sequence[Pair]], Floats]  # [n, 2] nats, answer minus foil
    logits: Callable[[Prompt], tuple[float, float]] | None  # None: only margins were recorded


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim about a circuit.

    breaks: from the margins [n, 2] of each run and the margin of the law, which prompts break it.
    violation: one sentence about a pair and its member that break it, from margins [2] of each run.
    searchable: whether Hypothesis can try any prompt of the space.
    scanned: the pairs of the rate, each of which the law is held against besides.
    margin: of the law, in nats.
    changes: all that the law is about where that is changes of prompts and not contrast pairs.
    """

    name: str
    runs: Callable[[Bench], tuple[Run, ...]]
    breaks: Breaks
    violation: Violation
    decide: Callable[[Bench, Law], Evidence]
    searchable: Callable[[Bench], bool] = lambda _bench: True
    scanned: Callable[[Bench], Sequence[Pair]] = lambda bench: bench.sample.pairs
    margin: Callable[[Bench], float] = lambda bench: bench.spec.protocol.margin
    changes: Callable[[Bench], ChangeSpace] | None = None


def run_of(runner: Runner, view: View, *, name: str) -> Run:
    """A run of a model at hand."""
    return Run(
        name,
        lambda pairs: runner.margins(pairs, view),
        lambda prompt: runner.logits(prompt, view),
    )


def median_size(margins: Floats) -> float:
    """Median magnitude in nats of margins of any shape."""
    return float(np.median(np.abs(margins)))


def preference(margin: float, pair: Pair, member: int) -> str:
    """Which token a run prefers and by how much: `prefers '"' by 3.2 nats`."""
    prompt = (pair.first, pair.second)[member]
    token = prompt.answer if margin > 0 else prompt.foil
    return f"prefers {token!r} by {abs(margin):.2f} nats"
