"""What a found circuit has to reach on prompts that its masks were not trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_circuits.circuit import View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_circuits.circuit import Nodes, Runner
    from pytest_circuits.prompts import Pair


@dataclass(frozen=True, slots=True)
class Bar:
    """The least that a circuit must do to be kept by the search; stricter than the claims."""

    max_loss: float  # nats, task loss of the circuit
    min_rate: float  # share of prompts on which the circuit prefers the answer
    max_left: float  # share of prompts on which the complement still prefers the answer
    max_separation: float  # nats, by which the complement may separate any pair


@dataclass(frozen=True, slots=True)
class Quality:
    """How one circuit and its complement do on the evaluation pairs."""

    loss: float  # nats
    rate: float
    left: float  # share of prompts on which the complement prefers the answer
    worst_separation: float  # nats

    def reaches(self, bar: Bar) -> bool:
        """Whether the circuit is good enough to be kept."""
        return (
            self.loss <= bar.max_loss
            and self.rate >= bar.min_rate
            and self.left <= bar.max_left
            and self.worst_separation <= bar.max_separation
        )


def assess(runner: Runner, circuits: Sequence[Nodes], pairs: Sequence[Pair]) -> list[Quality]:
    """Quality of several circuits, in batched forwards."""
    inside = runner.margins_many(pairs, [View.circuit(nodes) for nodes in circuits])  # [K, n, 2]
    outside = runner.margins_many(pairs, [View.without(nodes) for nodes in circuits])
    return [
        Quality(
            loss=float(np.logaddexp(0, -kept).mean()),
            rate=float((kept > 0).mean()),
            left=float((rest > 0).mean()),
            worst_separation=float(rest.mean(axis=1).max()),
        )
        for kept, rest in zip(inside, outside, strict=True)
    ]
