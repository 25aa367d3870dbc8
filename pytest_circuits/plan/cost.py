"""What the claims of a specification will cost: prompt-forwards, and seconds where a model is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_circuits.circuit.edges import edges_of
from pytest_circuits.circuit.exchange import parts_of as sent_parts_of
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.view import WHOLE
from pytest_circuits.claims import adversary, minimal, specific
from pytest_circuits.claims import parts_of_rest as parts
from pytest_circuits.claims.bench import CONTROL_PAIRS, Bench
from pytest_circuits.claims.blind import INSIDE
from pytest_circuits.claims.faithful import card as faithful
from pytest_circuits.claims.faithful import internals as inside
from pytest_circuits.claims.registry import declared
from pytest_circuits.claims.stable.observation import FEW_PAIRS, PROBE_PAIRS, SIGNAL_PAIRS
from pytest_circuits.model.protocol import Model
from pytest_circuits.prompts.space import PromptSpace
from pytest_circuits.spec.load import LoadedSpec
from pytest_circuits.spec.template import cue_name
from pytest_circuits.spec.types import Spec

TIMED = 64  # pairs of prompts that are run to see how long one takes
# The runs that claims share: what one of them has run is there for the others.
_RUNS = {
    "behaves": ("whole model",),
    "sufficient": ("whole model", "circuit alone"),
    "necessary": ("whole model", "without the circuit"),
    "stable": ("circuit alone", "without the circuit"),
    "faithful": ("whole model", "worst part of the rest ablated"),
    "minimal": (),
    "specific": ("whole model", "without the circuit"),
    "blind": ("whole model",),
    "depends_on": ("whole model",),
}
_CONTROLS = {
    "sufficient": ("random circuits alone",),
    "necessary": ("without random circuits",),
    "faithful": ("random circuits alone", "without random circuits"),
    "specific": ("without random circuits",),
}
_CLIMBS = {"behaves", "sufficient", "necessary", "faithful", "depends_on"}


@dataclass(slots=True)
class Costs:
    """Counts prompt-forwards, at most, of one claim after the other; a shared run counts once."""

    spec: Spec
    model: Model | None
    others: Sequence[LoadedSpec]
    counted: set[str]

    def of(self, claim: str) -> int | None:
        """Return what a claim adds; None where that is not known before the run."""
        if claim == "blind" and self.model is None:
            return None
        besides = self._besides(claim)
        controls = 2 * CONTROL_PAIRS * self.spec.protocol.controls
        shared = self._new(_RUNS[claim]) * self._prompts()
        shared += self._new(_CONTROLS.get(claim, ())) * controls
        return shared + self._climbed(claim) + besides

    def _new(self, names: Sequence[str]) -> int:
        """How many of these runs no claim before this one has run."""
        new = {*names} - self.counted
        self.counted.update(new)
        return len(new)

    def _prompts(self) -> int:
        """Prompts of one shared run: those of the sample and of the search, or all there are."""
        protocol = self.spec.protocol
        size = PromptSpace(self.spec.behavior).size
        return 2 * (size if size <= protocol.pairs else min(size, protocol.pairs + protocol.search))

    def _climbed(self, claim: str) -> int:
        """Prompts near those that come closest to breaking a law, which each claim has its own."""
        protocol = self.spec.protocol
        return (claim in _CLIMBS and self._sampled()) * 2 * protocol.search * len(_RUNS[claim])

    def _besides(self, claim: str) -> int:
        """What a claim runs that no other does."""
        special = {
            "stable": self._stable,
            "faithful": self._faithful,
            "minimal": self._minimal,
            "specific": self._specific,
            "blind": self._blind,
            "depends_on": self._depends_on,
        }
        return special[claim]() if claim in special else 0

    def _stable(self) -> int:
        nodes = Nodes.of(self.spec.nodes).count
        return 2 * (SIGNAL_PAIRS + PROBE_PAIRS + FEW_PAIRS * (nodes + 1))

    def _faithful(self) -> int:
        random = len(parts.FRACTIONS) * parts.DRAWS
        step = 3 * (1 + len(adversary.FLIPS))  # from each of three starts: a gradient, candidates
        worst = 2 * parts.ATTACKED * (3 + adversary.STEPS * step)
        beside = 3 + len(inside.SHARES) * inside.DRAWS  # the whole model, and the circuit
        formal = {"circuit alone", "without the circuit"} - self.counted
        few = 2 * len(formal) * (faithful.FORMAL_PAIRS + CONTROL_PAIRS)
        return 2 * CONTROL_PAIRS * (random + beside) + worst + few

    def _minimal(self) -> int:
        nodes = Nodes.of(self.spec.nodes)
        edges = edges_of(self.spec)
        own = nodes.count + (edges.count if edges else 0)
        sites = self.model.sites if self.model else {}
        kinds = {sites[name].point if name in sites else name for name in nodes.shape}
        random = len(kinds) * self.spec.protocol.controls
        offered = 2 * CONTROL_PAIRS * (own + 1)  # smaller circuits, where parts are not needed
        return 2 * minimal.PAIRS * (1 + own + random) + offered

    def _specific(self) -> int:
        controls = self.spec.protocol.controls
        ablated = 2 * specific.PAIRS + 2 * specific.FEW * controls
        text = 2 * specific.WINDOWS + specific.FEW * (2 + controls)
        return text + sum(ablated + 2 * _drawn(other.spec) for other in self.others)

    def _blind(self) -> int:
        protocol = self.spec.protocol
        exchanged = INSIDE * (len(sent_parts_of(self.model, seed=0)) + 2) if self.model else 0
        return exchanged + self._sampled() * (protocol.pairs + 2 * protocol.search)

    def _depends_on(self) -> int:
        claim = self.spec.claims.depends_on
        changed = {*(claim.slots if claim else ())} - {cue_name(self.spec.behavior)}
        return self._sampled() * self.spec.protocol.pairs * len(changed)

    def _sampled(self) -> bool:
        return PromptSpace(self.spec.behavior).size > self.spec.protocol.pairs


def _drawn(spec: Spec) -> int:
    """Pairs of the sample of a specification."""
    return min(PromptSpace(spec.behavior).size, spec.protocol.pairs)


def costs_of(
    spec: Spec, model: Model | None, others: Sequence[LoadedSpec]
) -> dict[str, int | None]:
    """Return what each declared claim adds, in their order; others: those of `specific`."""
    costs = Costs(spec, model, others, set())
    return {claim: costs.of(claim) for claim in declared(spec)}


def seconds_per_prompt(bench: Bench) -> float:
    """Measure a short batch, with what is outside the circuit ablated if there is a circuit."""
    view = bench.circuit if bench.nodes.count else WHOLE
    pairs = bench.sample.few(TIMED, seed=bench.seed)
    bench.runner.margins_many(pairs[:1], [view])  # the first forward is slow
    before, started = bench.runner.forwards, time.perf_counter()
    bench.runner.margins_many(pairs, [view])
    return (time.perf_counter() - started) / (bench.runner.forwards - before)
