"""Everything that the claims of one circuit share: the prompts, the runs and the controls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from pytest_circuits.circuit.attention import Head, kept_heads, shows_attention
from pytest_circuits.circuit.calibration import shift_of
from pytest_circuits.circuit.edges import Edges, live_edges
from pytest_circuits.circuit.margin import margin_of
from pytest_circuits.circuit.nodes import Nodes, upstream
from pytest_circuits.circuit.random_circuits import NONE, random_circuits
from pytest_circuits.circuit.rest import Rest
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.view import View
from pytest_circuits.claims.parts_of_rest import ATTACKED, GAP_PAIRS, Parts, random_parts
from pytest_circuits.claims.sample import Sample, draw_changes, draw_sample, generator
from pytest_circuits.claims.search import stream
from pytest_circuits.claims.stable.baseline import Live, Recorded
from pytest_circuits.claims.stable.observation import Place
from pytest_circuits.claims.statistics import Floats, Interval, Span
from pytest_circuits.model.protocol import Model
from pytest_circuits.model.reference import Reference
from pytest_circuits.prompts.changes import ChangeSpace
from pytest_circuits.prompts.space import Pair, PromptSpace
from pytest_circuits.spec.ablations import Ablation
from pytest_circuits.spec.load import LoadedSpec
from pytest_circuits.spec.types import FEW, Spec

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

EPS = 1e-4  # nats: nearer to a tie than this is a tie; float32 logits differ by about 1e-5
CONTROL_PAIRS = 16  # pairs on which the circuit is compared with random ones
CHECKED_PAIRS = 32  # pairs on which a compiled circuit is held against the ablated model

Pruner = Callable[[Spec, Model, Reference, int], tuple[Nodes, ...]]  # and how many searches


@dataclass(frozen=True)
class Bench:
    """One circuit of one model on the bench; made once, shared by all its claims."""

    loaded: LoadedSpec
    runner: Runner
    nodes: Nodes
    edges: Edges | None = None  # None: every weight between the nodes
    baseline: Recorded | Live | None = None
    search_seed: int | None = None  # what --hypothesis-seed gave; None: from the specification
    pruner: Pruner | None = None  # prunes the circuit anew where `stable` asks for its structure
    others: tuple[LoadedSpec, ...] = ()  # behaviors that `specific` compares with
    selfcheck: int = 0  # another number, another seed; see `selfcheck.py`
    tried: dict[str, set[Pair]] = field(default_factory=dict)  # per claim, what the search tried
    changed: dict[tuple[str, ...], Sample] = field(default_factory=dict)  # see `changes`

    @property
    def spec(self) -> Spec:
        return self.loaded.spec

    @property
    def model(self) -> Model:
        return self.runner.model

    @cached_property
    def each(self) -> tuple[Bench, ...]:
        """The same under each ablation that the specification names, in order."""
        return tuple(self._under(ablation) for ablation in self.spec.ablations)

    @property
    def constant(self) -> Bench:
        """The same under the first constant ablation, if there is one: it takes the most away."""
        return next((each for each in self.each if each.runner.ablation.kind.constant), self)

    def _under(self, ablation: Ablation) -> Bench:
        if ablation is self.runner.ablation:
            return self
        before = self.baseline
        if isinstance(before, Live):
            before = replace(before, runner=before.runner.under(ablation))
        return replace(self, runner=self.runner.under(ablation), baseline=before)

    @property
    def search_start(self) -> int:
        """Seed of the search; one circuit's searches share it and so try the same prompts."""
        return self.seed if self.search_seed is None else self.search_seed

    @cached_property
    def seed(self) -> int:
        """Decides every random choice; the same for the same circuit of the same behavior."""
        if not self.selfcheck:
            return self.loaded.seed
        text = f"{self.loaded.seed} selfcheck {self.selfcheck}"
        return int(sha256(text.encode()).hexdigest()[:15], 16)

    @cached_property
    def margin(self) -> float:
        """Nats by which a single prompt must go wrong before it breaks a law."""
        return margin_of(self.spec.protocol, self.runner, self.sample.pairs)

    @cached_property
    def space(self) -> PromptSpace:
        return PromptSpace(self.spec.behavior)

    @property
    def search(self) -> int:
        """Examples that a search tries: as many as there would be for each group of prompts."""
        return self.spec.protocol.search * len(self.space.groups)

    @cached_property
    def sample(self) -> Sample:
        return draw_sample(self.space, count=self.spec.protocol.pairs, seed=self.seed)

    def changes(self, *slots: str) -> Sample:
        """Changes of what these slots hold: one from each draw of the sample, or all there are."""
        if slots not in self.changed:
            space = ChangeSpace(self.space, slots)
            self.changed[slots] = draw_changes(space, self.sample, seed=self.seed)
        return self.changed[slots]

    @cached_property
    def place(self) -> Place:
        return Place(self.nodes, self.edges, shift_of(self.spec))

    @property
    def circuit(self) -> View:
        """The model with everything outside the circuit ablated, and the shift if it has one."""
        return self.place.circuit

    @property
    def heads(self) -> tuple[Head, ...]:
        """The heads of which the circuit keeps a value, where their attention can be seen."""
        return kept_heads(self.nodes, self.model) if shows_attention(self.model) else ()

    @cached_property
    def plain(self) -> View:
        """The same without the shift: what the nodes and edges do by themselves."""
        return View.circuit(self.nodes, self.edges)

    @property
    def alone(self) -> str:
        """How texts call that run: nobody is to take a calibrated circuit for a plain one."""
        return "circuit alone" if self.spec.calibration is None else "calibrated circuit alone"

    def named(self, run: str) -> str:
        """How texts call a run with something ablated, where that can be in more than one way."""
        return f"{run} ({self.runner.ablation})" if len(self.spec.ablations) > 1 else run

    @property
    def without(self) -> View:
        return self.place.without

    @cached_property
    def cut(self) -> View:
        """The model with the circuit's edges cut and all nodes alive."""
        return View.without(Nodes(()), live_edges(self.nodes, self.model, self.edges))

    @cached_property
    def upstream(self) -> Nodes:
        """The nodes of the circuit but those that write the residual stream, or are it at last."""
        return upstream(self.nodes, self.model)

    @cached_property
    def controls(self) -> Sequence[Nodes]:
        return self.shuffles(self.spec.protocol.controls, seed=self.seed)

    @cached_property
    def controls_outside(self) -> Sequence[Nodes]:
        """The same of nodes that are not the circuit's, as far as there are enough.

        Ablated, those of a narrow model hit one of the circuit's nodes more often than not, and
        would break the behavior by it: what shows that the circuit is the one that is needed would
        count against it.
        """
        return self.shuffles(self.spec.protocol.controls, seed=self.seed, avoid=self.nodes)

    def shuffles(self, count: int, *, seed: int, avoid: Nodes = NONE) -> Sequence[Nodes]:
        """Random circuits with as many nodes at each hook point."""
        reference = self.runner.reference
        return random_circuits(
            self.nodes, self.model, reference, count=count, seed=seed, avoid=avoid
        )

    @cached_property
    def controls_alone(self) -> Floats:
        """Margins of each random circuit alone on the pairs of the controls, [K, n, 2]."""
        views = [View.circuit(nodes) for nodes in self.controls]
        return self.runner.margins_many(self.control_pairs, views)

    @cached_property
    def controls_without(self) -> Floats:
        """Margins with only a random circuit of other nodes ablated, [K, n, 2]."""
        views = [View.without(nodes) for nodes in self.controls_outside]
        return self.runner.margins_many(self.control_pairs, views)

    @cached_property
    def control_pairs(self) -> tuple[Pair, ...]:
        return self.sample.few_by_weight(CONTROL_PAIRS, seed=self.seed)

    @cached_property
    def rest(self) -> Rest:
        return Rest.of(self.nodes, self.edges, self.model)

    @cached_property
    def parts(self) -> Parts:
        """Parts of the rest that are ablated while the circuit stays."""
        if self.sample.exhaustive:
            attacked = self.sample.few(ATTACKED, seed=self.seed)
        else:  # pairs of their own: the search sees others than those that judge its result
            attacked = self.space.sample(ATTACKED, seed=self.seed + 1)
        limits = self.spec.claims.faithful
        return Parts(
            self.runner,
            self.rest,
            self.gap_pairs,
            attacked,
            random_parts(self.rest.size, self.random(stream=3)),
            few=limits.few if limits else FEW,
        )

    @cached_property
    def gap_sample(self) -> Sample:
        """Pairs on which what a circuit does is held against what the whole model does."""
        return self.sample.part(GAP_PAIRS, seed=self.seed)

    @property
    def gap_pairs(self) -> tuple[Pair, ...]:
        return self.gap_sample.pairs

    @property
    def gaps_see_all(self) -> bool:
        return self.gap_sample.exhaustive

    def gap_mean(self, values: Floats, within: Span) -> Interval:
        """Mean of a value of each of these pairs, [n], of which each counts as `within` says."""
        return self.gap_sample.mean(values[:, None], self.spec.protocol.alpha, within)

    def at(self, place: Place | None) -> Bench:
        """The bench with the circuit where it lies in another model; None: at the same place."""
        return self if place is None else replace(self, nodes=place.nodes, edges=place.edges)

    def delta(
        self, claim: str, interval: Interval, measure: Callable[[Bench, Runner], Interval]
    ) -> float | None:
        """How a rate differs from the baseline's; None where that has none."""
        match self.baseline:
            case Recorded(rates=rates) if claim in rates:
                return interval.estimate - rates[claim].estimate
            case Live() as live:
                return interval.estimate - measure(self.at(live.place), live.runner).estimate
            case _:
                return None

    def random(self, *, stream: int) -> np.random.Generator:
        return generator(self.seed, stream=stream)

    @cached_property
    def searched_pairs(self) -> tuple[Pair, ...]:
        """The pairs that every search of this circuit tries, as long as it finds nothing."""
        return self.stream(self.space.strategy())

    def stream(self, strategy: SearchStrategy[Pair]) -> tuple[Pair, ...]:
        """The pairs of a strategy that a search tries, as long as it finds nothing."""
        return stream(strategy, search=self.search, start=self.search_start)
