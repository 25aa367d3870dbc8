"""What a found circuit has to reach on prompts that its masks were not trained on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np
from numpy.typing import NDArray

from pytest_circuits.circuit.attention import kept_heads, shows_attention
from pytest_circuits.circuit.edges import Edges, live_edges
from pytest_circuits.circuit.inside import (
    DRAWS,
    Inside,
    contrasts_of,
    interchanges,
    look_inside,
)
from pytest_circuits.circuit.nodes import Node, Nodes, upstream
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.view import WHOLE, View
from pytest_circuits.claims.parts_of_rest import GAP_PAIRS, gap_shown
from pytest_circuits.compile.family import Member
from pytest_circuits.model.protocol import Wired
from pytest_circuits.prompts.space import Pair
from pytest_circuits.prune.alone import Alone
from pytest_circuits.prune.met import Met
from pytest_circuits.prune.objective import Demands

Floats = NDArray[np.float64]

FEW = 32  # pairs that rule a complement out, before all of them decide
_CLEARLY = 2.5  # standard errors of a sign that is no chance; the claim asks for more
_TOLD = 128  # nodes up to which each one's role is asked: of many that do little, some turn
FEWEST = 8  # pairs on which it is seen how much a node does


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
            max(self.turned, other.turned),
        )


Count = Callable[[Floats, Floats], Quality]  # margins [n, 2] of pairs and their weights [n]


@dataclass(frozen=True, slots=True)
class _Trial:
    """One run of a circuit, and how it counts."""

    name: str
    runner: Runner
    views: tuple[View, ...]
    counts: Count | None = None  # None: beside the whole model
    by_one: bool = False  # one pair can decide it
    inside: bool = False  # what its nodes carry is seen


class Judge:
    """Measures circuits on the evaluation pairs of one behavior.

    What circuits do alone is run compiled, many at once, and costs little. What the model does
    without one needs a whole forward each, and so does what it does beside the values of partners
    and parts of the rest, so they are asked last; what failed last is asked first.
    """

    def __init__(
        self,
        runner: Runner,
        pairs: Sequence[Pair],
        weights: Sequence[float],
        bar: Bar,
        demands: Demands | None = None,
    ) -> None:
        self.runner, self.bar = runner, bar
        self.demands = demands or Demands((runner.ablation,), necessity=bar.asks_for_necessity)
        self.pairs = tuple(pairs)
        self.weights: Floats = np.asarray(weights, dtype=np.float64)
        self.forget()

    def forget(self) -> None:
        """Begin anew: what a stage of a search finds must not depend on the stages before it."""
        self._alone = Alone(self.runner, self.pairs)
        self._hardest: dict[str, list[int]] = {}  # pairs by trial, worst first
        self._failed: list[str] = []  # names of trials, the last that failed first
        self._known_effects: dict[Node, float] = {}
        self.met: list[Met] = []  # parts of the rest that circuits were tried against

    def assess(
        self, circuits: Sequence[Nodes], *, only: Collection[str] | None = None
    ) -> list[Quality]:
        """Quality of several circuits, with all weights between their nodes, and complements.

        only: the trials that are run besides; None: all of them.
        """
        alone = self.alone([(nodes, None) for nodes in circuits])
        return [
            self._tried(quality, (nodes, None), only)
            for nodes, quality in zip(circuits, alone, strict=True)
        ]

    def in_full(self, nodes: Nodes) -> tuple[Quality, frozenset[str]]:
        """Quality of one circuit, and the trials in which it is not good enough."""
        (quality,), failing = self.alone([(nodes, None)]), set[str]()
        for trial in self._trials((nodes, None)):
            found = self._quality(trial)
            quality = quality.worst(found)
            if not found.reaches(self.bar):
                failing.add(trial.name)
        return quality, frozenset(failing)

    def measure(self, member: Member) -> Quality:
        """Quality of one circuit by the ablated model itself, as the claims will run it."""
        margins = self.runner.margins_many(self.pairs, [View.circuit(*member)])[0]
        return self._tried(count_alone(margins, self.weights), member)

    def left_by_edges(self, member: Member) -> float:
        """Nats by which a pair is told apart at most with only its edges cut; 0 where none can be.

        The claim `necessary` asks this besides; a search does where that is declared.
        """
        if not isinstance(self.runner.model, Wired):
            return 0.0
        view = View.without(Nodes.of({}), self._edges(member))
        return float(self.runner.margins_many(self.pairs, [view])[0].mean(axis=1).max())

    def alone(self, members: Sequence[Member]) -> list[Quality]:
        """Quality of several circuits, each with its edges, as if nothing were left without."""
        return [count_alone(margins, self.weights) for margins in self._alone.margins(members)]

    def first(self, circuits: Sequence[Nodes]) -> int | None:
        """The place of the first circuit that is good enough; None where none is.

        Roles are not asked: a repair leaves out what changes its own.
        """
        members: list[Member] = [(nodes, None) for nodes in circuits]
        asked, self.bar = self.bar, replace(self.bar, roles=False)
        alone = self.alone(members)
        good = (i for i, quality in enumerate(alone) if quality.reaches(self.bar))
        try:
            return next((i for i in good if self._survives(members[i])), None)
        finally:
            self.bar = asked

    def reaches(self, member: Member) -> bool:
        """Whether one circuit is good enough in every trial; what is cheap to ask first."""
        return self.alone([member])[0].reaches(self.bar) and self._survives(member)

    def _survives(self, member: Member) -> bool:
        """Whether a circuit that is good enough alone is so in every other trial."""
        trials = {trial.name: trial for trial in self._trials(member)}
        order = [*(name for name in self._failed if name in trials), *trials]
        for name in dict.fromkeys(order):
            if not self._passes(trials[name]):
                self._failed = [name, *(other for other in self._failed if other != name)]
                return False
        return True

    def _passes(self, trial: _Trial) -> bool:
        hardest = self._hardest.get(trial.name, [*range(len(self.pairs))])
        if trial.by_one and len(hardest) > FEW:
            few = [self.pairs[i] for i in hardest[:FEW]]
            apart = trial.runner.margins_many(few, trial.views)[0].mean(axis=1)
            if apart.max() > self.bar.max_separation:
                return False
        return self._quality(trial).reaches(self.bar)

    def _tried(
        self, quality: Quality, member: Member, only: Collection[str] | None = None
    ) -> Quality:
        """A quality and what trials add to it, all or some."""
        for trial in self._trials(member):
            if only is None or trial.name in only:
                quality = quality.worst(self._quality(trial))
        return quality

    def _quality(self, trial: _Trial) -> Quality:
        if trial.inside:
            return self._inside(*trial.views)
        if trial.counts is None:
            return self.beside(trial.runner, trial.views)
        margins = trial.runner.margins_many(self.pairs, trial.views)[0]
        self._hardest[trial.name] = np.argsort(-margins.mean(axis=1), kind="stable").tolist()
        return trial.counts(margins, self.weights)

    def _inside(self, circuit: View) -> Quality:
        """How a circuit alone is inside, beside the whole model, on some of the pairs."""
        model, nodes = self.runner.model, circuit.nodes
        pairs = self.pairs[:: -(-len(self.pairs) // FEW)]
        heads = kept_heads(nodes, model) if shows_attention(model) else ()
        some = [*interchanges(nodes, np.random.default_rng(0))]
        seen = look_inside(self.runner, circuit, pairs, heads=heads, given=some)
        own = _losses(self.runner.margins(pairs, WHOLE)).mean(axis=1)
        interchanged = _losses(seen.interchanged).mean(axis=2).reshape(-1, DRAWS, len(pairs))
        losses = [*interchanged.mean(axis=1), _losses(seen.frozen).mean(axis=1)]
        weights = self._effects(nodes)
        return Quality(
            gap=max(self._shown(loss - own, GAP_PAIRS) for loss in losses),
            correlation=float(weights @ seen.correlations / max(weights.sum(), 1e-9)),
            attention=float(seen.attention.mean(axis=1).max(initial=0)),
            turned=len(_turned(nodes, seen)) if nodes.count <= _TOLD else 0,
        )

    def failing_parts(self, failing: Collection[str]) -> list[Met]:
        """The parts of the rest among the trials in which a circuit is not good enough."""
        return [met for number, met in enumerate(self.met) if f"part {number}" in failing]

    def turned(self, nodes: Nodes) -> list[Node]:
        """The nodes of a circuit that tell cues apart the other way round than in the model."""
        pairs = self.pairs[:: -(-len(self.pairs) // FEW)]
        return _turned(nodes, look_inside(self.runner, View.circuit(nodes), pairs))

    def _effects(self, nodes: Nodes) -> Floats:
        """How much each of some nodes does in the whole model, [nodes], in nats."""
        pairs = self.pairs[:: -(-len(self.pairs) // FEWEST)]
        unknown = [node for node in nodes if node not in self._known_effects]
        views = [View.without(Nodes.gather([node])) for node in unknown]
        if views:
            whole = self.runner.margins(pairs, WHOLE).mean()
            found = whole - self.runner.margins_many(pairs, views).mean(axis=(1, 2))
            self._known_effects |= dict(zip(unknown, np.abs(found).tolist(), strict=True))
        return np.array([self._known_effects[node] for node in nodes])

    def _trials(self, member: Member) -> Iterator[_Trial]:
        """Every way in which a circuit is tried, but for what it does alone when it is compiled."""
        nodes, edges = member
        for ablation in self.demands.ablations:
            runner = self.runner.under(ablation)
            if runner is not self.runner:
                yield _Trial(f"alone {ablation}", runner, (View.circuit(*member),), count_alone)
            if not self.demands.necessity:
                continue
            count = count_flipped if ablation.kind.from_partner else count_left
            ways = {"nodes": View.without(nodes)}
            above = upstream(nodes, self.runner.model)
            if ablation.kind.from_partner and above != nodes:
                ways["upstream"] = View.without(above)
            if self.demands.edges and isinstance(self.runner.model, Wired):
                ways["edges"] = View.without(Nodes.of({}), self._edges(member))
            for way, view in ways.items():
                yield _Trial(f"{way} {ablation}", runner, (view,), count, by_one=True)
        if self.demands.max_gap is not None:
            yield _Trial("inside", self.runner, (View.circuit(*member),), inside=True)
        unlisted = None
        if self.met and edges is not None:
            listed = set(edges)
            every = live_edges(nodes, self.runner.model)
            unlisted = Edges.gather(edge for edge in every if edge not in listed)
        for number, part in enumerate(self.met):
            views = tuple(portion.beside(nodes, unlisted) for portion in part.portions)
            yield _Trial(f"part {number}", self.runner.under(part.ablation), views)

    def _edges(self, member: Member) -> Edges:
        nodes, edges = member
        return live_edges(nodes, self.runner.model, edges)

    def beside(self, runner: Runner, views: Sequence[View]) -> Quality:
        """How the model does with a part ablated, or with several, of which the mean counts."""
        margins = runner.margins_many(self.pairs, views)  # [K, n, 2]
        own = _losses(self.runner.margins(self.pairs, WHOLE)).mean(axis=1)
        gaps, drawn = _losses(margins).mean(axis=(0, 2)) - own, len(views) > 1
        shown = self._shown(gaps, GAP_PAIRS if drawn else self.demands.pairs, self.weights)
        turned = 0.0 if drawn else self.demands.turned * _mean(margins[0] <= 0, self.weights)
        return Quality(rate=1 - turned, gap=shown)

    def _shown(self, gaps: Floats, pairs: int, weights: Floats | None = None) -> float:
        """What a claim says of gaps, [n] in nats, on so many pairs: a bound, unless that is all."""
        if self.demands.space > pairs:
            return gap_shown(gaps, self.demands.risk, pairs=pairs)
        return float(gaps.mean() if weights is None else weights @ gaps)


def _turned(nodes: Nodes, seen: Inside) -> list[Node]:
    """Nodes that have one sign in the whole model and clearly the other one alone."""
    contrasts = contrasts_of(seen.means)  # [2, nodes, n]
    error = contrasts.std(axis=2) / np.sqrt(contrasts.shape[2])
    mean = contrasts.mean(axis=2)
    whole, alone = np.where(np.abs(mean) > _CLEARLY * error, mean, 0)
    return [node for node, product in zip(nodes, whole * alone, strict=True) if product < 0]


def count_alone(margins: Floats, weights: Floats) -> Quality:
    return Quality(loss=_mean(_losses(margins), weights), rate=_mean(margins > 0, weights))


def count_left(margins: Floats, weights: Floats) -> Quality:
    most, mean = _separation(margins, weights)
    return Quality(left=_mean(margins > 0, weights), worst_separation=most, apart=mean)


def count_flipped(margins: Floats, weights: Floats) -> Quality:
    most, mean = _separation(margins, weights)
    return Quality(flipped=_mean(margins < 0, weights), worst_separation=most, apart=mean)


def _separation(margins: Floats, weights: Floats) -> tuple[float, float]:
    """Nats by which the pair is told apart that is so most, and all of them in the mean."""
    return float((nats := margins.mean(axis=1)).max()), float(weights @ nats.clip(0))


def _losses(margins: Floats) -> Floats:
    losses: Floats = np.logaddexp(0, -margins)
    return losses


def _mean(values: NDArray[np.bool_] | Floats, weights: Floats) -> float:
    """Mean over prompts of values [n, 2], each pair with its weight."""
    return float(weights @ values.mean(axis=1))
