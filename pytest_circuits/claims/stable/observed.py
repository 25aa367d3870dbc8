"""What the baseline and the candidate show of a circuit, on the prompts that a bench gives."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.sample import Sample
from pytest_circuits.claims.stable.baseline import AGAIN, Live, Recorded, check_specification
from pytest_circuits.claims.stable.observation import (
    FEW_PAIRS,
    MOST_PAIRS,
    PROBE_PAIRS,
    SIGNAL_PAIRS,
    Observation,
    Place,
    Prompts,
    observe,
)
from pytest_circuits.errors import BaselineError, UsageError
from pytest_circuits.prompts.space import Pair, prompts_of


def check_recorded(bench: Bench, recorded: Recorded) -> None:
    """Raise BaselineError when a baseline file belongs to something else than this circuit."""
    check_specification(bench.loaded, recorded)
    prompts, found = observed_prompts(bench), recorded.observation
    signals, probed = (sum(_lengths(bench, x)) for x in (prompts.signals, prompts.probes))
    looks = _lengths(bench, prompts.few)
    if (
        recorded.node_ids != tuple(bench.nodes.ids())
        or recorded.prompts_digest != texts_digest(prompts.rates)
        or found.alone.shape != (len(prompts.rates), 2)
        or found.signals.shape != (bench.nodes.count, signals)
        or found.effects.shape != (bench.nodes.count,)
        or found.attention.shape[0] != len(bench.heads)
        or (bench.heads and found.attention.shape[1:] != (len(looks), max(looks)))
        or found.probed.shape != (found.probes.count, probed)
        or any(c >= recorded.model.hook_points.get(hook, 0) for hook, c in found.probes)
        or len(found.repruned) != _searches(bench)
    ):
        raise BaselineError(
            f"{bench.loaded.path}: the baseline beside it holds other prompts or nodes than the "
            f"specification asks for; it was edited, or recorded by another version; {AGAIN}"
        )


def sample_of(bench: Bench) -> Sample:
    """The prompts whose margins a baseline holds: first draws of each group, or the whole space."""
    return bench.sample.shortened(MOST_PAIRS)


def observed_prompts(bench: Bench) -> Prompts:
    sizes = (SIGNAL_PAIRS, FEW_PAIRS, PROBE_PAIRS)
    return Prompts(sample_of(bench).pairs, *(bench.sample.few(n, seed=bench.seed) for n in sizes))


def observed(bench: Bench) -> tuple[Observation, Observation]:
    """The circuit in the baseline and in the candidate; there has to be a baseline."""
    prompts = observed_prompts(bench)
    if isinstance(bench.baseline, Live):
        place = bench.baseline.place or bench.place
        before = observed_in(bench, bench.baseline.runner, place, prompts)
    else:
        assert bench.baseline is not None  # noqa: S101
        before = bench.baseline.observation
    probes = Nodes.of({}) if bench.baseline.is_elsewhere else before.probes
    return before, observed_in(bench, bench.runner, bench.place, prompts, probes=probes)


def observed_in(
    bench: Bench, runner: Runner, place: Place, prompts: Prompts, *, probes: Nodes | None = None
) -> Observation:
    """The circuit in one model, pruned anew if the specification asks for that."""
    found = observe(runner, place, prompts, probes=probes)
    seeds = _searches(bench)
    if not seeds or (bench.baseline and bench.baseline.is_elsewhere):
        return found
    if bench.pruner is None:
        raise UsageError("stable: `structure` prunes the circuit anew, and no pruner was given")
    return replace(found, repruned=bench.pruner(bench.spec, runner.model, runner.reference, seeds))


def _searches(bench: Bench) -> int:
    limits = bench.spec.claims.stable
    return limits.structure.seeds if limits and limits.structure else 0


def _lengths(bench: Bench, pairs: Sequence[Pair]) -> list[int]:
    return [len(bench.runner.tokens(prompt)) for prompt in prompts_of(pairs)]


def texts_digest(pairs: Sequence[Pair]) -> str:
    digest = hashlib.sha256()
    for prompt in prompts_of(pairs):
        digest.update(f"{prompt.text}\0{prompt.answer}\0{prompt.foil}\0".encode())
    return digest.hexdigest()
