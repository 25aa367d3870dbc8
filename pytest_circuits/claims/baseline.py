"""What a circuit is compared with: evidence that was accepted earlier, or another model at hand."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_circuits.errors import BaselineError, ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_circuits.circuit import Nodes, Runner
    from pytest_circuits.claims.bench import Bench
    from pytest_circuits.claims.statistics import Floats, Interval
    from pytest_circuits.model import Model
    from pytest_circuits.prompts import Pair

MOST_PAIRS = 500
RECORD = "pytest --circuits --circuits-update"


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
    versions: Mapping[str, str]
    seed: int
    alpha: float
    prompts_digest: str  # sha256 of the texts that the margins belong to
    margins: Floats  # [n, 2] nats, of the circuit alone
    signals: Floats  # [nodes, 2 * signal pairs]
    node_ids: tuple[str, ...]
    rates: Mapping[str, float]  # estimates of the claims that were accepted


@dataclass(frozen=True, slots=True)
class Live:
    """A baseline model at hand, run like the candidate."""

    runner: Runner

    @property
    def model(self) -> ModelFacts:
        """What makes it comparable."""
        return facts(self.runner.model)


def facts(model: Model) -> ModelFacts:
    """What makes a model comparable with another."""
    return ModelFacts(model.digest, model.tokenizer_digest, dict(model.hook_points))


def check_comparable(candidate: Model, other: ModelFacts, *, what: str) -> None:
    """Raise ModelError when a circuit of one model means nothing in the other."""
    if candidate.tokenizer_digest != other.tokenizer_digest:
        raise ModelError(
            f"{candidate.path}: its tokenizer is not the one of {what} "
            f"({candidate.tokenizer_digest[:12]}, not {other.tokenizer_digest[:12]}): the prompts "
            "would become other tokens. Gate it with specifications made for it"
        )
    if dict(candidate.hook_points) != dict(other.hook_points):
        here, there = dict(candidate.hook_points), dict(other.hook_points)
        hook = next(h for h in [*here, *there] if here.get(h) != there.get(h))
        raise ModelError(
            f"{candidate.path}: its shape is not the one of {what} (hook point {hook}: "
            f"{here.get(hook, 'none')} channels, not {there.get(hook, 'none')}): node numbers "
            "would mean other nodes. Gate it with specifications made for it"
        )


def check_recorded(bench: Bench, recorded: Recorded) -> None:
    """Raise BaselineError when a baseline file belongs to something else than this circuit."""
    where, again = bench.loaded.path, f"`{RECORD}=changed` records it again"
    if recorded.circuit != bench.spec.circuit or recorded.spec_digest != bench.loaded.digest:
        raise BaselineError(
            f"{where}: the baseline beside it was recorded for another specification (circuit "
            f"{recorded.circuit!r}, digest {recorded.spec_digest[:12]}, not "
            f"{bench.loaded.digest[:12]}); if the change is meant, {again}"
        )
    shape = (bench.nodes.count, 2 * len(bench.signal_pairs))
    pairs = recorded_pairs(bench)
    if (
        recorded.node_ids != tuple(bench.nodes.ids())
        or recorded.signals.shape != shape
        or recorded.margins.shape != (len(pairs), 2)
        or recorded.prompts_digest != texts_digest(pairs)
    ):
        raise BaselineError(
            f"{where}: the baseline beside it holds other prompts or nodes than the specification "
            f"asks for; it was edited, or recorded by another version; {again}"
        )


def recorded_pairs(bench: Bench) -> tuple[Pair, ...]:
    """The prompts whose margins a baseline file holds: the first draws, or the whole space."""
    return bench.sample.shortened(MOST_PAIRS).pairs


def texts_digest(pairs: Sequence[Pair]) -> str:
    """sha256 of the texts of pairs, in order."""
    digest = hashlib.sha256()
    for pair in pairs:
        for prompt in (pair.first, pair.second):
            digest.update(f"{prompt.text}\0{prompt.answer}\0{prompt.foil}\0".encode())
    return digest.hexdigest()


def margins_of(baseline: Recorded | Live, bench: Bench, pairs: Sequence[Pair]) -> Floats:
    """Margins [n, 2] of the circuit alone in the baseline."""
    if isinstance(baseline, Live):
        return baseline.runner.margins(pairs, bench.circuit)
    known = dict(zip(recorded_pairs(bench), baseline.margins, strict=True))
    return np.stack([known[pair] for pair in pairs])


def signals_of(baseline: Recorded | Live, pairs: Sequence[Pair], nodes: Nodes) -> Floats:
    """Signals [nodes, 2n] of the circuit's nodes in the baseline."""
    if isinstance(baseline, Live):
        return baseline.runner.signals(pairs, nodes)
    return baseline.signals


def delta(
    bench: Bench,
    claim: str,
    interval: Interval,
    measure: Callable[[Bench, Runner], Interval],
) -> float | None:
    """How a rate differs from the baseline's; None where that has none."""
    match bench.baseline:
        case Recorded(rates=rates) if claim in rates:
            return interval.estimate - rates[claim]
        case Live(runner=runner):
            return interval.estimate - measure(bench, runner).estimate
        case _:
            return None
