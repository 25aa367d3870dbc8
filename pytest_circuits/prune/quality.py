"""What a circuit comes to when it is tried, and the bar that a search asks it to reach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bar:
    """The least that a circuit must do to be kept by the search; stricter than the claims."""

    max_loss: float  # nats, task loss of the circuit
    min_rate: float  # share of prompts on which the circuit prefers the answer
    max_left: float  # share of prompts on which the complement still prefers the answer
    max_separation: float  # nats, by which the complement may separate any pair
    min_flip: float = 0.0  # share of prompts that prefer the foil without the circuit
    max_gap: float = inf  # nats, what a part of the rest may be shown to cost
    min_correlation: float = 0.0  # of what nodes carry alone with what they carry whole
    max_attention: float = 1.0  # total variation of a head's attention from its own
    min_least: float = -inf  # nats by which a circuit prefers what the whole model does, anywhere
    roles: bool = False  # whether each node has to answer to the cue as in the whole model

    @property
    def asks_for_necessity(self) -> bool:
        """Whether it matters what the model does without the circuit."""
        return min(self.max_left, self.max_separation) < inf


@dataclass(frozen=True, slots=True)
class Quality:
    """How one circuit and its complement do on the evaluation pairs, in the worst of all trials."""

    loss: float = 0.0  # nats
    rate: float = 1.0
    left: float = 0.5  # share of prompts on which the complement prefers the answer
    worst_separation: float = 0.0  # nats
    apart: float = 0.0  # nats, by which the complement separates pairs in the mean
    flipped: float = 1.0  # share of prompts that prefer the foil, where it has partners' values
    gap: float = 0.0  # nats
    correlation: float = 1.0
    attention: float = 0.0  # of the head that attends most elsewhere
    least: float = inf  # nats by which it prefers what the whole model does, at its worst prompt
    turned: int = 0  # nodes that tell cues apart the other way round than in the whole model

    def reaches(self, bar: Bar) -> bool:
        return (
            self.loss <= bar.max_loss
            and self.rate >= bar.min_rate
            and self.left <= bar.max_left
            and self.worst_separation <= bar.max_separation
            and self.flipped >= bar.min_flip
            and self.gap <= bar.max_gap
            and self.correlation >= bar.min_correlation
            and self.attention <= bar.max_attention
            and self.least >= bar.min_least
            and not (self.turned and bar.roles)
        )

    def use(self, bar: Bar) -> float:
        """How much of the room below the bar is used, by the most pressing measure in nats."""
        return max(
            self.loss / bar.max_loss,
            self.worst_separation / bar.max_separation,
            self.gap / bar.max_gap,
            (1 - self.correlation) / max(1 - bar.min_correlation, 0.01),
            self.attention / bar.max_attention,
        )

    def excess(self, bar: Bar) -> float:
        """How far above the bar, over all measures; 0 for a circuit that reaches it."""
        # A share of prompts moves in steps, so that how far they are from it counts besides.
        left = max(self.left - bar.max_left, bar.min_flip - self.flipped) > 0
        measures = (
            self.loss / bar.max_loss - 1,
            (bar.min_rate - self.rate) / max(1 - bar.min_rate, 0.01),
            (self.left - bar.max_left) / max(bar.max_left - 0.5, 0.01),
            left * self.apart / bar.max_separation,
            self.worst_separation / bar.max_separation - 1,
            (bar.min_flip - self.flipped) / max(1 - bar.min_flip, 0.01),
            self.gap / bar.max_gap - 1,
            (bar.min_correlation - self.correlation) / max(1 - bar.min_correlation, 0.01),
            self.attention / bar.max_attention - 1,
            (bar.min_least - self.least) / bar.max_separation,
            self.turned * bar.roles,
        )
        return sum(max(0.0, measure) for measure in measures)

    def worst(self, other: Quality) -> Quality:
        """What is worse of two, measure by measure."""
        return Quality(
            max(self.loss, other.loss),
            min(self.rate, other.rate),
            max(self.left, other.left),
            max(self.worst_separation, other.worst_separation),
            max(self.apart, other.apart),
            min(self.flipped, other.flipped),
            max(self.gap, other.gap),
            min(self.correlation, other.correlation),
            max(self.attention, other.attention),
            min(self.least, other.least),
            max(self.turned, other.turned),
        )


Count = Callable[[Floats, Floats], Quality]  # margins [n, 2] of pairs and their weights [n]


def count_alone(margins: Floats, weights: Floats) -> Quality:
    return Quality(loss=mean_of(losses_of(margins), weights), rate=mean_of(margins > 0, weights))


def count_left(margins: Floats, weights: Floats) -> Quality:
    most, mean = _separation(margins, weights)
    return Quality(left=mean_of(margins > 0, weights), worst_separation=most, apart=mean)


def count_flipped(margins: Floats, weights: Floats) -> Quality:
    most, mean = _separation(margins, weights)
    return Quality(flipped=mean_of(margins < 0, weights), worst_separation=most, apart=mean)


def _separation(margins: Floats, weights: Floats) -> tuple[float, float]:
    """Nats by which the pair is told apart that is so most, and all of them in the mean."""
    return float((nats := margins.mean(axis=1)).max()), float(weights @ nats.clip(0))


def losses_of(margins: Floats) -> Floats:
    nats: Floats = np.logaddexp(0, -margins)
    return nats


def mean_of(values: NDArray[np.bool_] | Floats, weights: Floats) -> float:
    """Mean over prompts of values [n, 2], each pair with its weight."""
    return float(weights @ values.mean(axis=1))
