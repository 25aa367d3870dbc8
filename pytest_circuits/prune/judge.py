"""Tries circuits in every way that claims will, on prompts that masks were not trained on."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pytest_circuits.circuit.attention import kept_heads, nodes_of_heads, shows_attention
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
from pytest_circuits.prune.quality import (
    Bar,
    Count,
    Floats,
    Quality,
    count_alone,
    count_flipped,
    count_left,
    losses_of,
    mean_of,
)

FEW = 32  # pairs that rule a complement out, before all of them decide
_CLEARLY = 2.5  # standard errors of a sign that is no chance; the claim asks for more
INSIDE = "inside"  # the trial that sees what nodes carry
_TOLD = 128  # nodes up to which each one's role is asked: of many that do little, some turn
_FEWEST = 8  # pairs on which it is seen how much a node does


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
        self.signs = np.sign(runner.margins(self.pairs, WHOLE))  # of the whole model, [n, 2]
        self.forget()

    def forget(self) -> None:
        """Begin anew: what a stage of a search finds must not depend on the stages before it."""
        self._alone = Alone(self.runner, self.pairs)
        self._hardest: dict[str, list[int]] = {}  # pairs by trial, worst first
        self._failed: list[str] = []  # names of trials, the last that failed first
        self._known_effects: dict[Node, float] = {}
        self.met: list[Met] = []  # parts of the rest that circuits were tried against

    @property
    def _few(self) -> Sequence[Pair]:
        """The pairs on which circuits are seen inside."""
        return self.pairs[:: -(-len(self.pairs) // FEW)]

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
        return self._tried(self._count_alone(margins, self.weights), member)

    def left_by_edges(self, member: Member) -> float:
        """Nats by which a pair is told apart at most with only its edges cut; 0 where none can be.

        The claim `necessary` asks this besides; a search does where that is declared.
        """
        if not isinstance(self.runner.model, Wired):
            return 0.0
        view = self._edges_cut(member)
        return float(self.runner.margins_many(self.pairs, [view])[0].mean(axis=1).max())

    def alone(self, members: Sequence[Member]) -> list[Quality]:
        """Quality of several circuits, each with its edges, as if nothing were left without."""
        return [
            self._count_alone(margins, self.weights) for margins in self._alone.margins(members)
        ]

    def _count_alone(self, margins: Floats, weights: Floats) -> Quality:
        """How a circuit does alone, and how far it goes against the whole model at its worst."""
        least = float((margins * self.signs).min())
        return replace(count_alone(margins, weights), least=least)

    def first(self, circuits: Sequence[Nodes]) -> int | None:
        """The place of the first circuit that is good enough; None where none is.

        Roles are not asked: a repair leaves out what changes its own.
        """
        members: list[Member] = [(nodes, None) for nodes in circuits]
        asked, self.bar = self.bar, replace(self.bar, roles=False)
        alone = self.alone(members)
        good = (i for i, quality in enumerate(alone) if quality.reaches(self.bar))
        try:
            return next((i for i in good if self._failing(members[i]) is None), None)
        finally:
            self.bar = asked

    def reaches(self, member: Member) -> bool:
        """Whether one circuit is good enough in every trial."""
        return self.failing(member) is None

    def failing(self, member: Member) -> str | None:
        """The first trial in which a circuit is not good enough; what is cheap to ask first."""
        return self._failing(member) if self.alone([member])[0].reaches(self.bar) else "alone"

    def _failing(self, member: Member) -> str | None:
        """The same of a circuit that is good enough alone; what failed last is asked first."""
        trials = {trial.name: trial for trial in self._trials(member)}
        order = [*(name for name in self._failed if name in trials), *trials]
        for name in dict.fromkeys(order):
            if not self._passes(trials[name]):
                self._failed = [name, *(other for other in self._failed if other != name)]
                return name
        return None

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
        pairs = self._few
        heads = kept_heads(nodes, model) if shows_attention(model) else ()
        some = [*interchanges(nodes, np.random.default_rng(0))]
        seen = look_inside(self.runner, circuit, pairs, heads=heads, given=some)
        own = losses_of(self.runner.margins(pairs, WHOLE)).mean(axis=1)
        interchanged = losses_of(seen.interchanged).mean(axis=2).reshape(-1, DRAWS, len(pairs))
        losses = [*interchanged.mean(axis=1), losses_of(seen.frozen).mean(axis=1)]
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
        if nodes.count > _TOLD:
            return []
        return _turned(nodes, look_inside(self.runner, View.circuit(nodes), self._few))

    def elsewhere(self, nodes: Nodes) -> Nodes:
        """The nodes of those heads of a circuit that look elsewhere than in the model."""
        model = self.runner.model
        heads = kept_heads(nodes, model) if shows_attention(model) else ()
        if not heads:
            return Nodes.of({})
        seen = look_inside(self.runner, View.circuit(nodes), self._few, heads=heads)
        far = np.flatnonzero(seen.attention.mean(axis=1) > self.bar.max_attention)
        return nodes_of_heads(nodes, model, [heads[i] for i in far])

    def _effects(self, nodes: Nodes) -> Floats:
        """How much each of some nodes does in the whole model, [nodes], in nats."""
        pairs = self.pairs[:: -(-len(self.pairs) // _FEWEST)]
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
                yield _Trial(
                    f"alone {ablation}", runner, (View.circuit(*member),), self._count_alone
                )
            if not self.demands.necessity:
                continue
            count = count_flipped if ablation.kind.from_partner else count_left
            ways = {"nodes": View.without(nodes)}
            above = upstream(nodes, self.runner.model)
            if ablation.kind.from_partner and above != nodes:
                ways["upstream"] = View.without(above)
            if self.demands.edges and isinstance(self.runner.model, Wired):
                ways["edges"] = self._edges_cut(member)
            for way, view in ways.items():
                yield _Trial(f"{way} {ablation}", runner, (view,), count, by_one=True)
        if self.demands.max_gap is not None:
            yield _Trial(INSIDE, self.runner, (View.circuit(*member),), inside=True)
        unlisted = None
        if self.met and edges is not None:
            listed = set(edges)
            every = live_edges(nodes, self.runner.model)
            unlisted = Edges.gather(edge for edge in every if edge not in listed)
        for number, part in enumerate(self.met):
            views = tuple(portion.beside(nodes, unlisted) for portion in part.portions)
            yield _Trial(f"part {number}", self.runner.under(part.ablation), views)

    def _edges_cut(self, member: Member) -> View:
        nodes, edges = member
        if edges is None:  # of a large circuit too many to list
            return View.disconnected(nodes)
        return View.without(Nodes.of({}), live_edges(nodes, self.runner.model, edges))

    def beside(self, runner: Runner, views: Sequence[View]) -> Quality:
        """How the model does with a part ablated, or with several, of which the mean counts."""
        margins = runner.margins_many(self.pairs, views)  # [K, n, 2]
        own = losses_of(self.runner.margins(self.pairs, WHOLE)).mean(axis=1)
        gaps, drawn = losses_of(margins).mean(axis=(0, 2)) - own, len(views) > 1
        shown = self._shown(gaps, GAP_PAIRS if drawn else self.demands.pairs, self.weights)
        turned = 0.0 if drawn else self.demands.turned * mean_of(margins[0] <= 0, self.weights)
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
