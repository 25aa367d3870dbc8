"""`behaves`: the whole model prefers the answer to the foil."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_circuits.circuit.view import WHOLE
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.card import (
    Claim,
    LawCard,
    least_preferred,
    limits_of,
    median_size,
    preference,
    rate_of,
    runs_of,
)
from pytest_circuits.claims.cost import Cost, Shared
from pytest_circuits.claims.evidence import Evidence, Law
from pytest_circuits.claims.findings import conclude, law_finding, not_finite, rate_finding
from pytest_circuits.claims.statistics import Floats, softplus
from pytest_circuits.prompts.space import Pair
from pytest_circuits.spec.types import BehavesClaim


def _violation(pair: Pair, member: int, margins: Mapping[str, Floats]) -> str:
    (whole,) = margins.values()
    return f"the whole model {preference(whole[member], pair, member)}: the wrong one"


def _decide(bench: Bench, law: Law) -> Evidence:
    protocol, sample = bench.spec.protocol, bench.sample
    whole = bench.runner.margins(sample.pairs, WHOLE)
    if broken := not_finite("behaves", law, whole_model=whole):
        return broken
    limits = limits_of(bench.spec, BehavesClaim)
    rate, delta = rate_of(bench, "behaves", lambda _bench: WHOLE, limits.rate)
    findings = [
        rate_finding(rate, what="the whole model prefers the answer", alpha=protocol.alpha),
        law_finding(
            law, margin=bench.margin, typical=median_size(whole), whose="the model's preference"
        ),
    ]
    measures = {
        "delta_to_baseline": delta,
        "task_loss": sample.average(softplus(whole)),
    }
    return conclude("behaves", findings, rate=rate, law=law, measures=measures)


BEHAVES = Claim(
    "behaves",
    "the whole model prefers the answer to the foil",
    _decide,
    cost=lambda situation: Cost({Shared.WHOLE: situation.prompts}, situation.near(runs=1)),
    law=LawCard(
        runs=lambda bench: runs_of(bench, {"whole model": WHOLE}),
        excess=lambda margins: -margins[0],
        violation=_violation,
    ),
    tier="core",
    worst=lambda bench: least_preferred(
        "the whole model prefers the answer least",
        bench.sample,
        runs_of(bench, {"whole model": WHOLE}),
    ),
    needs_nodes=False,
)
