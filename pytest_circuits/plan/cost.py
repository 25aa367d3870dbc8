"""What the claims of a specification will cost: prompt-forwards, and seconds where a model is."""

from __future__ import annotations

import time
from collections.abc import Sequence

from pytest_circuits.circuit.view import WHOLE
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.cost import Shared, Situation
from pytest_circuits.claims.registry import CLAIMS, declared
from pytest_circuits.model.protocol import Model
from pytest_circuits.spec.load import LoadedSpec
from pytest_circuits.spec.types import Spec

TIMED = 64  # pairs of prompts that are run to see how long one takes


def costs_of(
    spec: Spec, model: Model | None, others: Sequence[LoadedSpec]
) -> dict[str, int | None]:
    """What each declared claim adds, in their order: prompt-forwards, at most.

    others: those of `specific`. None: what a claim adds is not known before the run.
    """
    situation = Situation(spec, model, tuple(others))
    counted: dict[Shared, int] = {}  # prompts of the shared runs so far
    found: dict[str, int | None] = {}
    for claim in declared(spec):
        cost = CLAIMS[claim].cost(situation)
        found[claim] = None
        if cost is not None:
            new = {run: max(0, n - counted.get(run, 0)) for run, n in cost.shared.items()}
            counted |= {run: counted.get(run, 0) + n for run, n in new.items()}
            found[claim] = cost.own + sum(new.values())
    return found


def seconds_per_prompt(bench: Bench) -> float:
    """Of a short batch, with what is outside the circuit ablated if there is a circuit."""
    view = bench.circuit if bench.nodes.count else WHOLE
    pairs = bench.sample.few(TIMED, seed=bench.seed)
    bench.runner.margins_many(pairs[:1], [view])  # the first forward is slow
    before, started = bench.runner.forwards, time.perf_counter()
    bench.runner.margins_many(pairs, [view])
    return (time.perf_counter() - started) / (bench.runner.forwards - before)
