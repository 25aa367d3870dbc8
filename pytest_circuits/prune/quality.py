"""What a found circuit has to reach on prompts that its masks were not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np
import torch
from numpy.typing import NDArray

from pytest_circuits.circuit.edges import live_edges
from pytest_circuits.circuit.encoding import Encoder
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.view import View
from pytest_circuits.compile.family import Family, Member
from pytest_circuits.model.protocol import Wired
from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.prompts.space import Pair, prompts_of
from pytest_circuits.spec.ablations import Given

Floats = NDArray[np.float64]

FEW = 32  # pairs that rule a complement out, before all of them decide
LARGEST = 512  # nodes up to which circuits are compiled
_ROWS = 1 << 15  # prompt tokens of one compiled forward, over all its circuits


@dataclass(frozen=True, slots=True)
class Bar:
    """The least that a circuit must do to be kept by the search; stricter than the claims."""

    max_loss: float  # nats, task loss of the circuit
    min_rate: float  # share of prompts on which the circuit prefers the answer
    max_left: float  # share of prompts on which the complement still prefers the answer
    max_separation: float  # nats, by which the complement may separate any pair

    @property
    def asks_for_necessity(self) -> bool:
        """Whether it matters what the model does without the circuit."""
        return min(self.max_left, self.max_separation) < inf


@dataclass(frozen=True, slots=True)
class Quality:
    """How one circuit and its complement do on the evaluation pairs."""

    loss: float = 0.0  # nats
    rate: float = 1.0
    left: float = 0.5  # share of prompts on which the complement prefers the answer
    worst_separation: float = 0.0  # nats

    def reaches(self, bar: Bar) -> bool:
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
    """Measures circuits on the evaluation pairs of one behavior.

    What circuits do alone is run compiled, many at once, and costs little. What the model does
    without one needs a whole forward each, so it is asked last.
    """

    def __init__(
        self, runner: Runner, pairs: Sequence[Pair], weights: Sequence[float], bar: Bar
    ) -> None:
        self.runner, self.bar = runner, bar
        self.pairs = tuple(pairs)
        self._weights: Floats = np.asarray(weights, dtype=np.float64)
        self.forget()

    def forget(self) -> None:
        """Begin anew: what a stage of a search finds must not depend on the stages before it."""
        self._compiled = _Compiled(self.runner, self.pairs)
        self._hardest = np.arange(len(self.pairs))  # what the last complement separated most first

    def assess(self, circuits: Sequence[Nodes]) -> list[Quality]:
        """Quality of several circuits, with all weights between their nodes, and complements."""
        alone = self.alone([(nodes, None) for nodes in circuits])
        rest = self.runner.margins_many(self.pairs, [View.without(nodes) for nodes in circuits])
        return [
            self._with_complement(quality, margins)
            for quality, margins in zip(alone, rest, strict=True)
        ]

    def measure(self, member: Member) -> Quality:
        """Quality of one circuit by the ablated model itself, as the claims will run it."""
        views = [View.circuit(*member), View.without(member[0])]
        alone, rest = (self.runner.margins_many(self.pairs, [view])[0] for view in views)
        return self._with_complement(self._alone(alone), rest)

    def left_by_edges(self, member: Member) -> float:
        """Nats by which a pair is told apart at most with only its edges cut; 0 where none can be.

        The claim `necessary` asks this besides; the search does not.
        """
        if not isinstance(self.runner.model, Wired):
            return 0.0
        nodes, edges = member
        cut = View.without(Nodes.of({}), live_edges(nodes, self.runner.model, edges))
        return float(self.runner.margins_many(self.pairs, [cut])[0].mean(axis=1).max())

    def alone(self, members: Sequence[Member]) -> list[Quality]:
        """Quality of several circuits, each with its edges, as if nothing were left without."""
        return [self._alone(margins) for margins in self._compiled.margins(members)]

    def _alone(self, margins: Floats) -> Quality:
        return Quality(
            loss=_mean(np.logaddexp(0, -margins), self._weights),
            rate=_mean(margins > 0, self._weights),
        )

    def _with_complement(self, quality: Quality, margins: Floats) -> Quality:
        left, apart = _mean(margins > 0, self._weights), margins.mean(axis=1)
        return replace(quality, left=left, worst_separation=float(apart.max()))

    def reaches(self, member: Member) -> bool:
        """Whether one circuit and its complement are good enough; what is cheap to ask first."""
        if not self.alone([member])[0].reaches(self.bar):
            return False
        if not self.bar.asks_for_necessity:
            return True
        view = View.without(member[0])
        hardest = [self.pairs[i] for i in self._hardest[:FEW]]
        if len(hardest) < len(self.pairs):
            apart = self.runner.margins_many(hardest, [view])[0].mean(axis=1)
            if apart.max() > self.bar.max_separation:
                return False
        margins = self.runner.margins_many(self.pairs, [view])[0]
        self._hardest = np.argsort(-margins.mean(axis=1), kind="stable")
        return self._with_complement(Quality(), margins).reaches(self.bar)


class _Compiled:
    """Circuits alone on fixed pairs, as parts of one compiled circuit that is made when needed."""

    def __init__(self, runner: Runner, pairs: Sequence[Pair]) -> None:
        self._runner, self._pairs = runner, pairs
        prompts, encoder = prompts_of(pairs), Encoder(runner.model)
        self._count = len(prompts)
        self._batches = [
            (indexes, encoder.batch([prompts[i] for i in indexes], rows=len(indexes)))
            for indexes in encoder.groups(prompts, rows=len(prompts))
        ]
        self._family: Family | None = None

    def margins(self, members: Sequence[Member]) -> Floats:
        """Margins of K circuits, [K, n, 2]."""
        union = {node for nodes, _ in members for node in nodes}
        model = self._runner.model
        if len(union) > LARGEST or not isinstance(model, SparseModel):
            views = [View.circuit(nodes, edges) for nodes, edges in members]
            return self._runner.margins_many(self._pairs, views)
        family = self._around(union, model)
        found = np.empty((len(members), self._count))
        for indexes, batch in self._batches:
            few = max(1, _ROWS // batch.tokens.numel())
            for start in range(0, len(members), few):
                part = slice(start, start + few)
                answer, foil = family.preferences(members[part], batch).unbind(-1)
                found[part, indexes] = (answer - foil).double().cpu().numpy()
        return found.reshape(len(members), -1, 2)

    def _around(self, nodes: set[tuple[str, int]], model: SparseModel) -> Family:
        """A family that holds some nodes and not many others."""
        known = self._family
        if (
            known is None
            or not nodes <= set(known.nodes)
            or known.nodes.count > 4 * len(nodes) + 64
        ):
            runner = self._runner
            tokens = torch.cat([batch.tokens.flatten() for _, batch in self._batches])
            fill = runner.ablation.kind.fill(Given(runner.reference))
            known = Family.of(model, Nodes.gather(nodes), fill, tokens)
            self._family = known
        return known


def _mean(values: NDArray[np.bool_] | Floats, weights: Floats) -> float:
    """Mean over prompts of values [n, 2], each pair with its weight."""
    return float(weights @ values.mean(axis=1))
