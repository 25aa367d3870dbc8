"""What a circuit is compared with: evidence that was accepted earlier, or another model at hand."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_circuits.circuit import Nodes
from pytest_circuits.claims.observation import (
    FEW_PAIRS,
    MOST_PAIRS,
    PROBE_PAIRS,
    SIGNAL_PAIRS,
    Observation,
    Place,
    Prompts,
    observe,
)
from pytest_circuits.errors import BaselineError, ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_circuits.circuit import Runner
    from pytest_circuits.claims.bench import Bench, Sample
    from pytest_circuits.claims.evidence import Rate
    from pytest_circuits.claims.statistics import Interval
    from pytest_circuits.model import Model
    from pytest_circuits.prompts import Pair
    from pytest_circuits.spec import LoadedSpec

RECORD = "pytest --circuits --circuits-update"
_AGAIN = f"`{RECORD}=changed` records it again"


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What makes two models comparable, and which model it was."""

    digest: str
    tokenizer_digest: str
    hook_points: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A baseline file."""

    circuit: str
    spec_digest: str
    model: ModelFacts
    reference_text: str  # sha256 of the text that its reference was measured on
    versions: Mapping[str, str]
    seed: int
    alpha: float
    prompts_digest: str  # sha256 of the texts that the observation is about
    node_ids: tuple[str, ...]
    observation: Observation
    rates: Mapping[str, Rate]  # of the claims that were accepted

    @property
    def matched(self) -> bool:
        """A file is about the nodes that the specification names."""
        return False


@dataclass(frozen=True, slots=True)
class Live:
    """A baseline model at hand, run like the candidate."""

    runner: Runner
    place: Place | None = None  # of the circuit there; None: where the specification says

    @property
    def model(self) -> ModelFacts:
        """What makes it comparable."""
        return facts(self.runner.model)

    @property
    def reference_text(self) -> str:
        """sha256 of the text that its reference was measured on."""
        return self.runner.reference.text_digest

    @property
    def matched(self) -> bool:
        """Whether its circuit has other addresses than the candidate's."""
        return self.place is not None

    def place_of(self, bench: Bench) -> Place:
        """Where the circuit lies in it."""
        return bench.place if self.place is None else self.place

    def bench_of(self, bench: Bench) -> Bench:
        """The bench with the circuit where it lies in it."""
        place = self.place
        return bench if place is None else replace(bench, nodes=place.nodes, edges=place.edges)


def facts(model: Model) -> ModelFacts:
    """What makes a model comparable with another."""
    return ModelFacts(model.digest, model.tokenizer_digest, dict(model.hook_points))


def check_tokenizer(candidate: Model, other: ModelFacts, *, what: str) -> None:
    """Raise ModelError when the same prompt is other tokens in the two models."""
    if candidate.tokenizer_digest != other.tokenizer_digest:
        raise ModelError(
            f"{candidate.path}: not comparable: its tokenizer is not the one of {what} "
            f"({candidate.tokenizer_digest[:12]}, not {other.tokenizer_digest[:12]}): the prompts "
            "would become other tokens. Gate it with specifications made for it"
        )


def check_comparable(candidate: Model, other: ModelFacts, *, what: str) -> None:
    """Raise ModelError when a circuit of one model means nothing in the other."""
    check_tokenizer(candidate, other, what=what)
    if dict(candidate.hook_points) != dict(other.hook_points):
        here, there = dict(candidate.hook_points), dict(other.hook_points)
        hook = next(h for h in [*here, *there] if here.get(h) != there.get(h))
        raise ModelError(
            f"{candidate.path}: not comparable: its shape is not the one of {what} "
            f"(hook point {hook}: {here.get(hook, 'none')} channels, not "
            f"{there.get(hook, 'none')}): node numbers "
            "would mean other nodes. Gate it with specifications made for it"
        )


def check_origin(loaded: LoadedSpec, base: Model, recorded: Recorded) -> None:
    """Raise BaselineError when a baseline file was not recorded from this circuit in this model.

    Else whoever replaces the model in its folder replaces what the circuit is compared with.
    """
    _check_specification(loaded, recorded)
    if recorded.model.digest != base.digest:
        raise BaselineError(
            f"{loaded.path}: the baseline beside it was recorded from another model than "
            f"{base.path} ({recorded.model.digest[:12]}, not {base.digest[:12]}), so that the "
            "circuit there is not the one that was accepted; give the model that was released as "
            f"--circuits-baseline, or, if the change is meant, {_AGAIN}"
        )


def _check_specification(loaded: LoadedSpec, recorded: Recorded) -> None:
    if recorded.circuit != loaded.spec.circuit or recorded.spec_digest != loaded.digest:
        raise BaselineError(
            f"{loaded.path}: the baseline beside it was recorded for another specification "
            f"(circuit {recorded.circuit!r}, digest {recorded.spec_digest[:12]}, not "
            f"{loaded.digest[:12]}); if the change is meant, {_AGAIN}"
        )


def check_recorded(bench: Bench, recorded: Recorded) -> None:
    """Raise BaselineError when a baseline file belongs to something else than this circuit."""
    _check_specification(bench.loaded, recorded)
    prompts, found = observed_prompts(bench), recorded.observation
    signals, probed = (_tokens(bench, pairs) for pairs in (prompts.signals, prompts.probes))
    if (
        recorded.node_ids != tuple(bench.nodes.ids())
        or recorded.prompts_digest != texts_digest(prompts.rates)
        or found.alone.shape != (len(prompts.rates), 2)
        or found.signals.shape != (bench.nodes.count, signals)
        or found.effects.shape != (bench.nodes.count,)
        or found.attention.shape[0] != len(bench.heads)
        or (bench.heads and found.attention.shape[1:] != _attended(bench, prompts.few))
        or found.probed.shape != (found.probes.count, probed)
        or any(c >= recorded.model.hook_points.get(hook, 0) for hook, c in found.probes)
        or len(found.repruned) != _searches(bench)
    ):
        raise BaselineError(
            f"{bench.loaded.path}: the baseline beside it holds other prompts or nodes than the "
            f"specification asks for; it was edited, or recorded by another version; {_AGAIN}"
        )


def sample_of(bench: Bench) -> Sample:
    """The prompts whose margins a baseline holds: the first draws, or the whole space."""
    return bench.sample.shortened(MOST_PAIRS)


def observed_prompts(bench: Bench) -> Prompts:
    """The prompts of an observation."""
    sizes = (SIGNAL_PAIRS, FEW_PAIRS, PROBE_PAIRS)
    return Prompts(sample_of(bench).pairs, *(bench.sample.few(n, seed=bench.seed) for n in sizes))


def observed(bench: Bench) -> tuple[Observation, Observation]:
    """The circuit in the baseline and in the candidate; there has to be a baseline."""
    prompts = observed_prompts(bench)
    if isinstance(bench.baseline, Live):
        before = observed_in(bench, bench.baseline.runner, bench.baseline.place_of(bench), prompts)
    else:
        assert bench.baseline is not None  # noqa: S101
        before = bench.baseline.observation
    probes = Nodes.of({}) if bench.baseline.matched else before.probes
    return before, observed_in(bench, bench.runner, bench.place, prompts, probes=probes)


def observed_in(
    bench: Bench, runner: Runner, place: Place, prompts: Prompts, *, probes: Nodes | None = None
) -> Observation:
    """The circuit in one model, pruned anew if the specification asks for that."""
    found = observe(runner, place, prompts, probes=probes)
    seeds = _searches(bench)
    if not seeds or (bench.baseline and bench.baseline.matched):
        return found
    from pytest_circuits.prune.again import pruned_again  # noqa: PLC0415  (hardly ever asked for)

    again = pruned_again(bench.spec, runner.model, runner.reference, seeds=seeds)
    return replace(found, repruned=again)


def _searches(bench: Bench) -> int:
    """How often the circuit is pruned anew."""
    limits = bench.spec.claims.stable
    return limits.structure.seeds if limits and limits.structure else 0


def _tokens(bench: Bench, pairs: Sequence[Pair]) -> int:
    """Tokens of all prompts of some pairs."""
    return sum(len(bench.runner.tokens(p)) for pair in pairs for p in (pair.first, pair.second))


def _attended(bench: Bench, pairs: Sequence[Pair]) -> tuple[int, int]:
    """Prompts of some pairs, and tokens of the longest one."""
    lengths = [len(bench.runner.tokens(p)) for pair in pairs for p in (pair.first, pair.second)]
    return len(lengths), max(lengths)


def texts_digest(pairs: Sequence[Pair]) -> str:
    """sha256 of the texts of pairs, in order."""
    digest = hashlib.sha256()
    for pair in pairs:
        for prompt in (pair.first, pair.second):
            digest.update(f"{prompt.text}\0{prompt.answer}\0{prompt.foil}\0".encode())
    return digest.hexdigest()


def delta(
    bench: Bench,
    claim: str,
    interval: Interval,
    measure: Callable[[Bench, Runner], Interval],
) -> float | None:
    """How a rate differs from the baseline's; None where that has none."""
    match bench.baseline:
        case Recorded(rates=rates) if claim in rates:
            return interval.estimate - rates[claim].estimate
        case Live() as live:
            return interval.estimate - measure(live.bench_of(bench), live.runner).estimate
        case _:
            return None
