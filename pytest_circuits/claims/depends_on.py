"""`depends_on`: what each of some slots holds moves the preference; the cue decides it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.view import WHOLE
from pytest_circuits.claims.bench import EPS, Bench
from pytest_circuits.claims.card import Claim, LawCard, Ranked, limits_of, on_the_partner, runs_of
from pytest_circuits.claims.cost import Cost, Shared, Situation
from pytest_circuits.claims.evidence import Evidence, Law
from pytest_circuits.claims.findings import conclude, law_finding, not_finite, rate_finding
from pytest_circuits.claims.sample import Sample
from pytest_circuits.claims.statistics import Floats, Interval
from pytest_circuits.prompts.space import Pair
from pytest_circuits.spec.problems import quoted
from pytest_circuits.spec.template import cue_name
from pytest_circuits.spec.types import DependsOnClaim


def _limits(bench: Bench) -> DependsOnClaim:
    return limits_of(bench.spec, DependsOnClaim)


def _on_cue(bench: Bench) -> bool:
    """Only of the cue it is known where a change should lead, so that a law can be about it."""
    return cue_name(bench.spec.behavior) in _limits(bench).slots


def _excess(margins: tuple[Floats, ...]) -> Floats:
    (whole,) = margins
    blind = -whole.sum(axis=1)  # [n]
    return np.stack([blind, blind], axis=1)


def _violation(_pair: Pair, member: int, margins: Mapping[str, Floats]) -> str:
    (whole,) = margins.values()
    return (
        "the cue makes no difference, or the wrong one: answer minus foil is "
        f"{whole[member]:.2f} nats here, {whole[1 - member]:.2f} on the other prompt"
    )


def _moved(bench: Bench, runner: Runner, slot: str) -> tuple[Sample, Interval]:
    """Changes of a slot, and how often they move the preference as they should."""
    cue, margin = slot == cue_name(bench.spec.behavior), bench.margin
    changes = bench.sample if cue else bench.changes(slot)
    margins = runner.margins(changes.pairs, WHOLE)  # [n, 2]
    moved = np.abs(margins[:, 0] - margins[:, 1]) >= margin  # [n]
    if cue:
        moved = (margins.min(axis=1) > EPS) & (margins.sum(axis=1) >= margin)
    return changes, changes.rate(np.stack([moved, moved], axis=1), bench.spec.protocol.alpha)


def _least(bench: Bench, runner: Runner) -> Interval:
    intervals = (_moved(bench, runner, slot)[1] for slot in _limits(bench).slots)
    return min(intervals, key=lambda interval: interval.lower)


def _decide(bench: Bench, law: Law) -> Evidence:
    limits, protocol = _limits(bench), bench.spec.protocol
    findings, rates = [], []
    for slot in limits.slots:
        changes, interval = _moved(bench, bench.runner, slot)
        whole = bench.runner.margins(changes.pairs, WHOLE)
        if broken := not_finite("depends_on", law, whole_model=whole):
            return broken
        rate = changes.against(interval, limits.rate)
        to = " to the other answer" if slot == cue_name(bench.spec.behavior) else ""
        what = f"changing {quoted(slot)} moves the preference{to} by {bench.margin:g} nats"
        findings.append(rate_finding(rate, what=what, alpha=protocol.alpha))
        rates.append(rate)
    if _on_cue(bench):
        findings.append(law_finding(law))
    return conclude(
        "depends_on",
        findings,
        rate=min(rates, key=lambda rate: rate.lower),
        law=law if _on_cue(bench) else None,
        measures={
            "delta_to_baseline": bench.delta("depends_on", _least(bench, bench.runner), _least),
            "margin": bench.margin,
            **{
                f"rate_{slot}": rate.estimate
                for slot, rate in zip(limits.slots, rates, strict=True)
            },
        },
    )


def _worst(bench: Bench) -> Ranked:
    """The changes of the slot that moves the preference most rarely."""
    slot = min(_limits(bench).slots, key=lambda slot: _moved(bench, bench.runner, slot)[1].lower)
    changes, _ = _moved(bench, bench.runner, slot)
    whole, is_cue = (
        bench.runner.margins(changes.pairs, WHOLE),
        slot == cue_name(bench.spec.behavior),
    )
    moved = np.minimum(whole.min(axis=1), whole.sum(axis=1) - bench.margin)
    if not is_cue:
        moved = np.abs(whole[:, 0] - whole[:, 1])
    where = f"changing {quoted(slot)} moves the preference{' to the other answer' * is_cue} least"
    runs = (*runs_of(bench, {"whole model": WHOLE}), on_the_partner(bench))
    return Ranked(where, changes, -moved, runs)


def _cost(situation: Situation) -> Cost:
    spec = situation.spec
    slots = {*limits_of(spec, DependsOnClaim).slots} - {cue_name(spec.behavior)}
    changed = situation.is_sampled * spec.protocol.pairs * situation.groups * len(slots)
    return Cost({Shared.WHOLE: situation.prompts}, own=changed + situation.near(runs=1))


DEPENDS_ON = Claim(
    "depends_on",
    "what the slots hold moves the preference",
    _decide,
    _cost,
    law=LawCard(
        lambda bench: runs_of(bench, {"whole model": WHOLE}),
        _excess,
        _violation,
        searchable=_on_cue,
        scanned=lambda bench: bench.sample.pairs if _on_cue(bench) else (),
        margin=lambda _bench: -EPS,
    ),
    needs_nodes=False,
    worst=_worst,
)
