"""What a found circuit has to reach on prompts that its masks were not trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_circuits.circuit import View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pytest_circuits.circuit import Edges, Nodes, Runner
    from pytest_circuits.prompts import Pair

    Floats = NDArray[np.float64]

FEW = 32  # pairs that rank candidates, before all of them decide


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
    left: float = 0.5  # share of prompts on which the complement prefers the answer
    worst_separation: float = 0.0  # nats

    def reaches(self, bar: Bar) -> bool:
        """Whether the circuit is good enough to be kept."""
        return (
            self.loss <= bar.max_loss
            and self.rate >= bar.min_rate
            and self.left <= bar.max_left
            and self.worst_separation <= bar.max_separation
        )

    def use(self, bar: Bar) -> float:
        """How much of the room below the bar is used, by the most pressing measure in nats."""
        return max(self.loss / bar.max_loss, self.worst_separation / bar.max_separation)

    def excess(self, bar: Bar) -> float:
        """How far above the bar, over all measures; 0 for a circuit that reaches it."""
        measures = (
            self.loss / bar.max_loss - 1,
            (bar.min_rate - self.rate) / max(1 - bar.min_rate, 0.01),
            (self.left - bar.max_left) / max(bar.max_left - 0.5, 0.01),
            self.worst_separation / bar.max_separation - 1,
        )
        return sum(max(0.0, measure) for measure in measures)


class Judge:
    """Measures circuits on the evaluation pairs of one behavior, many in a forward."""

    def __init__(
        self, runner: Runner, pairs: Sequence[Pair], weights: Sequence[float], bar: Bar
    ) -> None:
        self.runner, self.bar = runner, bar
        self.pairs = tuple(pairs)
        self._weights: Floats = np.asarray(weights, dtype=np.float64)

    def assess(
        self, circuits: Sequence[Nodes], *, edges: Edges | None = None, few: bool = False
    ) -> list[Quality]:
        """Quality of several circuits, with those of some edges that join nodes of them.

        edges: None: all weights. few: on the first FEW pairs alone, for a ranking.
        """
        pairs, weights = self._chosen(few=few)
        views = [View.circuit(nodes, edges) for nodes in circuits]
        inside = self.runner.margins_many(pairs, views)
        outside = self.runner.margins_many(pairs, [View.without(nodes) for nodes in circuits])
        return [
            Quality(
                loss=_mean(np.logaddexp(0, -kept), weights),
                rate=_mean(kept > 0, weights),
                left=_mean(rest > 0, weights),
                worst_separation=float(rest.mean(axis=1).max()),
            )
            for kept, rest in zip(inside, outside, strict=True)
        ]

    def assess_edges(
        self, nodes: Nodes, edges: Sequence[Edges], *, few: bool = False
    ) -> list[Quality]:
        """Quality of one set of nodes with several sets of edges; the complement has no part."""
        pairs, weights = self._chosen(few=few)
        found = self.runner.margins_many(pairs, [View.circuit(nodes, some) for some in edges])
        return [
            Quality(loss=_mean(np.logaddexp(0, -kept), weights), rate=_mean(kept > 0, weights))
            for kept in found
        ]

    def _chosen(self, *, few: bool) -> tuple[tuple[Pair, ...], Floats]:
        if not few or len(self.pairs) <= FEW:
            return self.pairs, self._weights
        weights = self._weights[:FEW]
        return self.pairs[:FEW], weights / weights.sum()


def _mean(values: NDArray[np.bool_] | Floats, weights: Floats) -> float:
    """Mean over prompts of values [n, 2], each pair with its weight."""
    return float(weights @ values.mean(axis=1))
