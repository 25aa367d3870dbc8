"""`blind`: what some slots hold does not matter to the preference, outwardly or by any path.

Outwardly: prompts that differ in these slots alone. By any path: what the slots' tokens send on is
exchanged in part, so that paths show that cancel each other (see `circuit.exchange`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from pytest_circuits.circuit.encoding import Encoder
from pytest_circuits.circuit.exchange import aligned, everything, margins_with_sent, parts_of
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.view import WHOLE
from pytest_circuits.claims.bench import EPS, Bench
from pytest_circuits.claims.card import (
    Claim,
    LawCard,
    Ranked,
    Run,
    limits_of,
    median_size,
    on_the_partner,
    preference,
    run_of,
)
from pytest_circuits.claims.cost import Cost, Shared, Situation
from pytest_circuits.claims.evidence import Evidence, Law, Verdict
from pytest_circuits.claims.findings import Finding, conclude, law_finding, not_finite, rate_finding
from pytest_circuits.claims.sample import Sample
from pytest_circuits.claims.statistics import Floats, Interval
from pytest_circuits.prompts.changes import FEW, ChangeSpace
from pytest_circuits.prompts.space import Pair, Prompt
from pytest_circuits.spec.problems import listed, quoted
from pytest_circuits.spec.types import BlindClaim

LEFT_BEHIND = 0.01  # nats; more is no rounding
INSIDE = 64  # changes of which what the slots' tokens send on is exchanged


def _limits(bench: Bench) -> BlindClaim:
    return limits_of(bench.spec, BlindClaim)


def _max_shift(bench: Bench) -> float:
    limits = _limits(bench)
    return bench.margin if limits.max_shift is None else limits.max_shift


def _changes(bench: Bench) -> ChangeSpace:
    return ChangeSpace(bench.space, _limits(bench).slots)


def _sample(bench: Bench) -> Sample:
    return bench.changes(*_limits(bench).slots)


def _runs(bench: Bench) -> tuple[Run, ...]:
    return run_of(bench.runner, WHOLE, name="whole model"), on_the_partner(bench)


def _excess(margins: tuple[Floats, ...]) -> Floats:
    before, after = margins
    return np.abs(before - after)


def _violation(change: Pair, member: int, margins: Mapping[str, Floats]) -> str:
    before, after = (float(found[member]) for found in margins.values())
    return (
        f"the whole model {preference(before, change, member)} here, and with other values of the "
        f"slots it {preference(after, change, member)}: a shift of {abs(before - after):.2f} nats"
    )


def _interval(bench: Bench, runner: Runner) -> Interval:
    changes = _sample(bench)
    before, after = runner.margins(changes.pairs, WHOLE).T  # each [n]
    same = (np.minimum(before, after) > EPS) | (np.maximum(before, after) < -EPS)
    return changes.rate(np.stack([same, same], axis=1), bench.spec.protocol.alpha)


def _decide(bench: Bench, law: Law) -> Evidence:
    limits, protocol = _limits(bench), bench.spec.protocol
    changes, most = _sample(bench), _max_shift(bench)
    whole = bench.runner.margins(changes.pairs, WHOLE)
    if broken := not_finite("blind", law, whole_model=whole):
        return broken
    interval = _interval(bench, bench.runner)
    rate = changes.against(interval, limits.rate)
    what = f"other values of {listed(limits.slots)} leave the preference with the same token"
    inside, measures = _inside(bench, most)
    findings = [
        rate_finding(rate, what=what, alpha=protocol.alpha),
        law_finding(
            law, margin=most, typical=median_size(whole), whose="the whole model's preference"
        ),
        *inside,
    ]
    measures |= {
        "delta_to_baseline": bench.delta("blind", interval, _interval),
        "max_shift": most,
        "shift": float(np.abs(whole[:, 0] - whole[:, 1]).max()),
    }
    return conclude("blind", findings, rate=rate, law=law, measures=measures)


def _inside(bench: Bench, most: float) -> tuple[list[Finding], dict[str, float | None]]:
    """Decide whether the preference moves as what the slots' tokens send is exchanged in part."""
    encoder = Encoder(bench.model)
    changes, lonely = _changes(bench).fitting(
        INSIDE, seed=bench.seed, fits=partial(aligned, encoder)
    )
    measures: dict[str, float | None] = {
        "exchanged": float(len(changes)),
        "not_exchanged": float(len(lonely)),
    }
    findings = [_lonely(lonely, encoder, bench)] if lonely else []
    if changes:
        finding, measures["shift_inside"] = _exchanged(bench, changes, most)
        findings.append(finding)
    return findings, measures


def _exchanged(bench: Bench, changes: Sequence[Pair], most: float) -> tuple[Finding, float]:
    """Exchange each part of what the slots' tokens send, and keep the greatest shift."""
    parts = parts_of(bench.model, seed=bench.seed)
    if not parts:
        text = (
            f"what the tokens of {listed(_limits(bench).slots)} send could not be exchanged: this "
            "model does not show the keys and values of every layer, and what is read out"
        )
        return Finding(Verdict.INCONCLUSIVE, text, "the model does not show what is sent"), np.nan
    before, partner = bench.runner.margins(changes, WHOLE).T  # each [n]
    *found, whole = margins_with_sent(bench.runner, changes, [*parts, everything(bench.model)])
    if not_all := _left_behind(bench, changes, np.abs(whole - partner)):
        return not_all, np.nan
    shifts = np.abs(np.stack(found) - before)  # [K, n]
    shifts = np.nan_to_num(shifts, nan=np.inf)
    part, worst = np.unravel_index(shifts.argmax(), shifts.shape)
    shift, change = float(shifts[part, worst]), changes[int(worst)]
    if shift < most:
        sentence = (
            f"at {len(changes)} prompts no part of what their tokens send moves it by more than "
            f"{shift:.2f} nats"
        )
        return Finding(Verdict.PASS, sentence), shift
    sentence = (
        f"exchanging {parts[part].name} of their tokens alone moves the preference by {shift:.2f} "
        f"nats, after {quoted(change.first.text)} with what {quoted(change.second.text)} sends "
        f"(less than {most:g} needed): a path uses them"
    )
    return Finding(Verdict.FAIL, sentence, "a path uses the slots"), shift


def _left_behind(bench: Bench, changes: Sequence[Pair], apart: Floats) -> Finding | None:
    """Decide whether what was exchanged is all that tokens send; apart: nats, [n].

    Exchanging everything gives the other prompt's preference. Of a last token that differs, a model
    may read more than the residual stream, such as a bigram table: such changes count only where
    there are no others, so that something is always looked at.
    """
    tokens = Encoder(bench.model).tokens
    same = np.array([tokens(change.first)[-1] == tokens(change.second)[-1] for change in changes])
    most = float(np.nan_to_num(apart, nan=np.inf)[same | ~same.any()].max())
    if most <= LEFT_BEHIND:
        return None
    text = (
        "exchanging all that this model shows of what tokens send does not give the other prompt's "
        f"preference (by {most:.2f} nats): something else is sent, which could not be exchanged"
    )
    return Finding(Verdict.INCONCLUSIVE, text, "the model does not show all that is sent")


def _lonely(lonely: Sequence[Prompt], encoder: Encoder, bench: Bench) -> Finding:
    """Say which prompt has no other values of as many tokens: its paths were not looked at."""
    shortest = min(lonely, key=lambda prompt: (len(prompt.text), prompt.text))
    slots = listed(_limits(bench).slots)
    sentence = (
        f"what the tokens of {slots} send could not be exchanged at {len(lonely)} prompts, as at "
        f"{quoted(shortest.text)} ({len(encoder.tokens(shortest))} tokens): no other values were "
        f"found that have as many tokens; give {slots} values that have, or leave this one out"
    )
    return Finding(Verdict.INCONCLUSIVE, sentence, "no other values of as many tokens")


def _cost(situation: Situation) -> Cost | None:
    if situation.model is None:  # how much its tokens send on hangs on its layers
        return None
    exchanged = INSIDE * (len(parts_of(situation.model, seed=0)) + 3)  # none, all, the partner
    protocol = situation.spec.protocol
    changed = situation.is_sampled * (protocol.pairs + 2 * protocol.search) * situation.groups
    changed += 2 * FEW * situation.regressions
    return Cost({Shared.WHOLE: situation.prompts}, own=exchanged + changed)


def _worst(bench: Bench) -> Ranked:
    """Those that turn the preference; where none does, those that move it most."""
    changes, slots = _sample(bench), listed(_limits(bench).slots)
    before, after = bench.runner.margins(changes.pairs, WHOLE).T  # each [n]
    kept = np.maximum(np.minimum(before, after), -np.maximum(before, after))
    if (kept > EPS).all():
        shift, where = np.abs(before - after), f"other values of {slots} move the preference most"
        return Ranked(where, changes, shift, _runs(bench))
    where = f"other values of {slots} keep the preference least"
    return Ranked(where, changes, -kept, _runs(bench))


BLIND = Claim(
    "blind",
    "whatever the slots hold, the preference is the same",
    _decide,
    _cost,
    law=LawCard(
        _runs,
        _excess,
        _violation,
        scanned=lambda bench: _sample(bench).pairs,
        margin=_max_shift,
        changes=_changes,
    ),
    needs_nodes=False,
    partner="the same with other values of the slots",
    worst=_worst,
)
