"""What the claims of a specification will cost: prompt-forwards, and seconds where a model is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_circuits.circuit import WHOLE
from pytest_circuits.circuit.sent import parts_of
from pytest_circuits.claims import declared
from pytest_circuits.claims.bench import CONTROL_PAIRS
from pytest_circuits.claims.blind import INSIDE
from pytest_circuits.claims.observation import FEW_PAIRS, PROBE_PAIRS, SIGNAL_PAIRS
from pytest_circuits.prompts import PromptSpace
from pytest_circuits.spec.template import cue_name

if TYPE_CHECKING:
    from pytest_circuits.claims import Bench
    from pytest_circuits.model import Model
    from pytest_circuits.spec import Spec

TIMED = 64  # pairs of prompts that are run to see how long one takes
# The runs that claims share: what one of them has run is there for the others.
_RUNS = {
    "behaves": ("whole model",),
    "sufficient": ("whole model", "circuit alone"),
    "necessary": ("whole model", "without the circuit"),
    "stable": ("circuit alone", "without the circuit"),
    "blind": ("whole model",),
    "depends_on": ("whole model",),
}
_CLIMBS = {"behaves", "sufficient", "necessary", "depends_on"}


@dataclass(slots=True)
class Costs:
    """Counts prompt-forwards, at most, of one claim after the other; a shared run counts once."""

    spec: Spec
    model: Model | None
    counted: set[str]

    def of(self, claim: str) -> int | None:
        """Return what a claim adds; None where that is not known before the run."""
        if claim not in _RUNS or (claim == "blind" and self.model is None):
            return None
        new = [name for name in _RUNS[claim] if name not in self.counted]
        self.counted.update(new)
        return len(new) * self._prompts() + self._climbed(claim) + self._besides(claim)

    def _prompts(self) -> int:
        """Prompts of one shared run: those of the sample and of the search, or all there are."""
        protocol = self.spec.protocol
        size = PromptSpace(self.spec.behavior).size
        return 2 * (size if size <= protocol.pairs else min(size, protocol.pairs + protocol.search))

    def _climbed(self, claim: str) -> int:
        """Prompts near those that come closest to breaking a law, which each claim has its own."""
        protocol = self.spec.protocol
        climbs = claim in _CLIMBS and PromptSpace(self.spec.behavior).size > protocol.pairs
        return climbs * 2 * protocol.search * len(_RUNS[claim])

    def _besides(self, claim: str) -> int:
        """What a claim runs that no other does."""
        protocol, claims = self.spec.protocol, self.spec.claims
        sampled = PromptSpace(self.spec.behavior).size > protocol.pairs
        if claim in {"sufficient", "necessary"}:
            return 2 * CONTROL_PAIRS * protocol.controls
        if claim == "stable":
            nodes = sum(map(len, self.spec.nodes.values()))
            return 2 * (SIGNAL_PAIRS + PROBE_PAIRS + FEW_PAIRS * (nodes + 1))
        if claim == "depends_on" and claims.depends_on:
            changed = {*claims.depends_on.slots} - {cue_name(self.spec.behavior)}
            return sampled * protocol.pairs * len(changed)
        if claim == "blind" and self.model:
            inside = INSIDE * (len(parts_of(self.model, seed=0)) + 2)
            return inside + sampled * (protocol.pairs + 2 * protocol.search)
        return 0


def costs_of(spec: Spec, model: Model | None) -> dict[str, int | None]:
    """Return what each declared claim adds, in their order."""
    costs = Costs(spec, model, set())
    return {claim: costs.of(claim) for claim in declared(spec)}


def seconds_per_prompt(bench: Bench) -> float:
    """Measure a short batch, with what is outside the circuit ablated if there is a circuit."""
    view = bench.circuit if bench.nodes.count else WHOLE
    pairs = bench.sample.few(TIMED, seed=bench.seed)
    bench.runner.margins_many(pairs[:1], [view])  # the first forward is slow
    before, started = bench.runner.forwards, time.perf_counter()
    bench.runner.margins_many(pairs, [view])
    return (time.perf_counter() - started) / (bench.runner.forwards - before)
