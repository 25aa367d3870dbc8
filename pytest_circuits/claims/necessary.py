"""`necessary`: with only the circuit ablated, the behavior is gone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pytest_circuits.circuit.view import WHOLE
from pytest_circuits.claims import statistics
from pytest_circuits.claims.bench import EPS, Bench
from pytest_circuits.claims.card import Claim, LawCard, limits_of, rate_of, runs_of
from pytest_circuits.claims.causes import causes_of_separation
from pytest_circuits.claims.cost import Cost, Shared, Situation
from pytest_circuits.claims.evidence import Evidence, Law
from pytest_circuits.claims.findings import (
    conclude,
    law_finding,
    most_controls,
    not_finite,
    rate_finding,
)
from pytest_circuits.claims.statistics import Floats
from pytest_circuits.prompts.space import Pair
from pytest_circuits.spec.types import NecessaryClaim


def _excess(margins: tuple[Floats, ...]) -> Floats:
    _, without = margins
    apart = _separation(without)  # [n]
    return np.stack([apart, apart], axis=1)


def _separation(margins: Floats) -> Floats:
    """How far apart the two prompts of a pair are, in nats per prompt: [..., 2] -> [...].

    A constant preference for one of the two tokens adds to one margin what it takes from the
    other, so that a model that always gives the same answer tells nothing apart.
    """
    separation: Floats = margins.mean(axis=-1)
    return separation


def _violation(_pair: Pair, member: int, margins: Mapping[str, Floats]) -> str:
    _, without = margins.values()
    here, there = without[member], without[1 - member]
    return (
        "without the circuit the two prompts of the pair are still told apart, by "
        f"{_separation(without):.2f} nats (answer minus foil {here:.2f} here, {there:.2f} on the "
        "other prompt): another path does the same job"
    )


def _decide(bench: Bench, law: Law) -> Evidence:
    protocol, sample = bench.spec.protocol, bench.sample
    limits = limits_of(bench.spec, NecessaryClaim)
    whole = bench.runner.margins(sample.pairs, WHOLE)
    without = bench.runner.margins(sample.pairs, bench.without)
    random = bench.controls_without
    if broken := not_finite(
        "necessary", law, whole_model=whole, without_the_circuit=without, random_circuits=random
    ):
        return broken
    rate, delta = rate_of(
        bench, "necessary", lambda bench: bench.without, limits.max_rate, at_most=True
    )
    own = _separation(bench.runner.margins(bench.control_pairs, bench.without)).mean()
    others = _separation(random).mean(axis=1)  # [K]
    p = statistics.control_p(int((others <= own + EPS).sum()), len(others))
    left = (random > EPS).mean(axis=(1, 2)) > limits.max_rate  # [K]
    findings = [
        rate_finding(
            rate, what="without the circuit the answer is preferred", alpha=protocol.alpha
        ),
        most_controls(
            left,
            f"{int(left.sum())} of {len(left)} random circuits of the same shape can be ablated "
            "without that",
            alpha=protocol.alpha,
            failed=": removing any circuit of this size breaks the model, not this one",
            undecided=(
                ", so that most might not: undecided (a smaller circuit, or more protocol.controls)"
            ),
        ),
        law_finding(
            law,
            margin=bench.margin,
            # A backup path that keeps half of the separation has to be able to break the law.
            typical=float(np.median(_separation(whole))) / 2,
            whose="half of what tells the prompts of a pair apart in the whole model",
        ),
    ]
    measures = {
        "control_left": float(left.mean()),
        "control_p": p,
        "control_separation": float(np.median(others)),
        "delta_to_baseline": delta,
        "separation": sample.mean(without, protocol.alpha).estimate,
        "separation_whole": sample.mean(whole, protocol.alpha, at_most=False).estimate,
    }
    return conclude("necessary", findings, rate=rate, law=law, measures=measures)


def _cost(situation: Situation) -> Cost:
    shared = dict.fromkeys((Shared.WHOLE, Shared.WITHOUT), situation.prompts)
    return Cost(shared | {Shared.WITHOUT_RANDOM: situation.controls}, situation.near(runs=2))


NECESSARY = Claim(
    "necessary",
    "with only the circuit ablated, the preference is gone",
    _decide,
    _cost,
    law=LawCard(
        lambda bench: runs_of(bench, {"whole model": WHOLE, "without the circuit": bench.without}),
        _excess,
        _violation,
        causes=causes_of_separation,
    ),
    tier="core",
    at_most=True,
)
