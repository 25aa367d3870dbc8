"""`specific`: ablating the circuit hurts this behavior, and not just any.

A circuit that every behavior runs through is necessary for each of them and explains none. A
behavior that the model does not have cannot be hurt: of such a one nothing is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pytest_circuits.circuit.text_loss import text_losses
from pytest_circuits.circuit.view import WHOLE, View
from pytest_circuits.claims import statistics
from pytest_circuits.claims.bench import EPS, Bench
from pytest_circuits.claims.card import Claim, Ranked, least_preferred, limits_of, runs_of
from pytest_circuits.claims.cost import Cost, Shared, Situation, drawn
from pytest_circuits.claims.evidence import Evidence, Law, Verdict, percent
from pytest_circuits.claims.findings import (
    Finding,
    between,
    capped_confidence,
    conclude,
    confidence,
    controls_of,
    most_controls,
    not_finite,
    worst_of,
)
from pytest_circuits.claims.sample import Sample, draw_sample
from pytest_circuits.claims.statistics import GAPS, Floats, Interval, softplus
from pytest_circuits.prompts.space import PromptSpace
from pytest_circuits.spec.load import LoadedSpec
from pytest_circuits.spec.types import SpecificClaim

HAD = 0.9  # rate of another behavior in the whole model, where its file has no claim `behaves`
CHANCE = 0.5
FEW = 4  # pairs of it, and windows of text, on which random circuits are ablated
TEXT = "general text"


@dataclass(frozen=True, slots=True)
class _Harm:
    """What ablating the circuit does elsewhere: losses in nats, [K] those of random circuits."""

    name: str
    loss: Interval  # how much it grows; each bound at half of alpha
    few: float  # the same on what the random circuits are ablated on
    random: Floats


@dataclass(frozen=True, slots=True)
class _Other:
    """Another behavior: how its rate drops, and what random circuits do to it."""

    loaded: LoadedSpec
    sample: Sample  # the one that its own claim `behaves` is decided on
    whole: Floats  # margins [n, 2]
    without: Floats
    random: Floats  # [K, FEW, 2], of its first pairs

    @property
    def named(self) -> str:
        """Its name, with the digest of the file that it was read from."""
        return f"{self.loaded.spec.circuit} ({self.loaded.digest[:12]})"

    def rate(self, alpha: float) -> Interval:
        return self.sample.rate(self.whole > EPS, alpha)

    def harm(self, alpha: float) -> _Harm:
        before, after = softplus(self.whole), softplus(self.without)
        few = self.random.shape[1]
        own = before[:few].mean()
        return _Harm(
            self.loaded.spec.circuit,
            self.sample.mean(after - before, alpha, GAPS),
            float(after[:few].mean() - own),
            softplus(self.random).mean(axis=(1, 2)) - own,
        )


def _decide(bench: Bench, law: Law) -> Evidence:
    limits, alpha = limits_of(bench.spec, SpecificClaim), bench.spec.protocol.alpha
    whole = bench.runner.margins(bench.sample.pairs, WHOLE)
    without = bench.runner.margins(bench.sample.pairs, bench.without)
    others = [_measured(bench, loaded) for loaded in bench.others]
    text = _text(bench, alpha / 2)
    for name, margins in (
        ("whole model", whole),
        ("without the circuit", without),
        ("random circuits", bench.controls_without.reshape(-1, 2)),
        ("text", np.array([[text.few, *text.random]])),
        *((o.loaded.spec.circuit, np.concatenate([o.whole, o.without])) for o in others),
    ):
        if broken := not_finite("specific", law, **{name.replace(" ", "_"): margins}):
            return broken
    drops = [o.sample.drop(o.whole > EPS, o.without > EPS, alpha) for o in others]
    own = bench.sample.mean(softplus(without) - softplus(whole), alpha / 2, GAPS, at_most=False)
    harms = [*(other.harm(alpha / 2) for other in others), text]
    beyond, others_beyond = _beyond(bench, harms)
    outdone = others_beyond < beyond - EPS
    rates = [other.rate(alpha) for other in others]
    findings = [
        _presence_finding(others, rates, limits.max_drop, alpha),
        *_drop_findings(others, drops, limits.max_drop, alpha),
        *_harm_findings(own, harms, alpha),
        most_controls(
            outdone,
            "ablated, it hurts this behavior beyond what it does elsewhere, more than "
            f"{int(outdone.sum())} of {len(outdone)} random circuits of other nodes",
            alpha=alpha,
            failed=": no more specific than chance",
            undecided=": undecided (more protocol.controls)",
        ),
    ]
    worst = max(range(len(drops)), key=lambda place: drops[place].upper)
    rate = others[worst].sample.against(drops[worst], limits.max_drop, at_most=True)
    measures = {
        "control_p": statistics.control_p(int((~outdone).sum()), len(outdone)),
        "harm": own.estimate,
        "harm_others": max(harm.loss.estimate for harm in harms[:-1]),
        "harm_text": text.loss.estimate,
        "others": float(len(others)),
        "rate_others": min(rate.estimate for rate in rates),
    }
    found = conclude("specific", findings, rate=rate, measures=measures)
    drawn = controls_of("loss here beyond that elsewhere, nats", beyond, others_beyond)
    return replace(found, controls=(drawn,))


def asked_of(other: LoadedSpec) -> Sample:
    """The prompts of another behavior at which the circuit is ablated."""
    space = PromptSpace(other.spec.behavior)
    return draw_sample(space, count=other.spec.protocol.pairs, seed=other.seed)


def _measured(bench: Bench, loaded: LoadedSpec) -> _Other:
    sample = asked_of(loaded)
    views = [View.without(nodes) for nodes in bench.controls_outside]
    return _Other(
        loaded,
        sample,
        bench.runner.margins(sample.pairs, WHOLE),
        bench.runner.margins(sample.pairs, bench.without),
        bench.runner.margins_many(sample.pairs[:FEW], views),
    )


def _text(bench: Bench, alpha: float) -> _Harm:
    windows = bench.spec.protocol.pairs
    whole, without = text_losses(bench.runner, [WHOLE, bench.without], windows=windows)
    views = [WHOLE, bench.without, *(View.without(nodes) for nodes in bench.controls_outside)]
    few = text_losses(bench.runner, views, windows=FEW).mean(axis=1)
    if not np.isfinite(without - whole).all():
        return _Harm(TEXT, statistics.Interval(np.nan, np.nan, np.nan), np.nan, few[2:])
    loss = statistics.mean(without - whole, alpha, GAPS)
    return _Harm(TEXT, loss, float(few[1] - few[0]), few[2:] - few[0])


def _beyond(bench: Bench, harms: Sequence[_Harm]) -> tuple[float, Floats]:
    """How much ablation hurts this behavior beyond what it does elsewhere, in nats.

    Of the circuit, and of random ones [K].
    """
    pairs = bench.control_pairs
    before = softplus(bench.runner.margins(pairs, WHOLE)).mean()
    here = softplus(bench.runner.margins(pairs, bench.without)).mean() - before
    random = softplus(bench.controls_without).mean(axis=(1, 2)) - before  # [K]
    others: Floats = random - np.max([harm.random for harm in harms], axis=0)
    return float(here - max(harm.few for harm in harms)), others


def _presence_finding(
    others: Sequence[_Other], rates: Sequence[Interval], most: float, alpha: float
) -> Finding:
    """Decide whether the whole model has the other behaviors, so that ablation could hurt them.

    Each at the rate that its own claim `behaves` asks for, on the sample that decides that claim,
    and at a rate that falls by more than `max_drop` where nothing but chance is left.
    """
    absent, there = [], []
    for other, rate in zip(others, rates, strict=True):
        behaves, n = other.loaded.spec.claims.behaves, other.sample.prompts(rate)
        least, floor = behaves.rate if behaves else HAD, CHANCE + most
        is_there = statistics.at_least(rate, least) is Verdict.PASS
        seen = f"{other.named} {percent(rate.estimate)} of {n} prompts{worst_of(rate.group)}"
        if is_there and rate.lower > floor + statistics.ROUNDING:
            there.append(seen)
            continue
        if not other.sample.exhaustive:
            seen += f", at least {percent(rate.lower)} with {confidence(alpha)}"
        above = f"more than {percent(floor)}, chance and max_drop,"
        absent.append(f"{seen} ({above if is_there else f'at least {percent(least)}'} needed)")
    if not absent:
        sentence = f"the whole model has the other behaviors: {', '.join(there)}"
        return Finding(Verdict.PASS, sentence)
    sentence = (
        f"the whole model is not shown to have other behaviors: {'; '.join(absent)}: undecided, "
        "ablation cannot hurt what is not there (name behaviors that the model has, or raise "
        "protocol.pairs in their files)"
    )
    return Finding(Verdict.INCONCLUSIVE, sentence, "other behaviors are not shown to be there")


def _drop_findings(
    others: Sequence[_Other], drops: Sequence[Interval], most: float, alpha: float
) -> list[Finding]:
    findings, kept = [], []
    for other, drop in zip(others, drops, strict=True):
        verdict = statistics.at_most(drop, most)
        if verdict is Verdict.PASS:
            kept.append(f"{other.named} {percent(max(0.0, drop.estimate))}")
            continue
        size = f"{percent(drop.estimate)}{worst_of(drop.group)}"
        seen = f"without the circuit, the rate of {other.named} drops by {size}"
        if other.sample.exhaustive:
            sure = f"over all {other.sample.prompts(drop)} prompts"
        else:
            sure = f"{between(drop, percent)} with {confidence(alpha)}"
        text = f"{seen} ({sure}; at most {percent(most)} allowed)"
        does = "drops" if verdict is Verdict.FAIL else "may drop"
        findings.append(Finding(verdict, text, f"{other.loaded.spec.circuit} {does}"))
    if kept:
        text = f"without the circuit, the rates of others drop by at most {percent(most)}: "
        findings.append(Finding(Verdict.PASS, text + ", ".join(kept)))
    return findings


def _harm_findings(own: Interval, harms: Sequence[_Harm], alpha: float) -> list[Finding]:
    """Decide whether everything else is hurt less than this behavior."""
    endings = {
        Verdict.PASS: "",
        Verdict.FAIL: f": not less (with {capped_confidence(alpha)})",
        Verdict.INCONCLUSIVE: ": not shown to be less (raise protocol.pairs)",
    }
    whys = {
        Verdict.PASS: "",
        Verdict.FAIL: "others are hurt as much",
        Verdict.INCONCLUSIVE: "others may be hurt as much",
    }
    by_verdict: dict[Verdict, list[str]] = {}
    for harm in harms:
        raised = f"that of {harm.name} by {harm.loss.estimate:.3g}"
        less = Verdict.FAIL if own.upper <= harm.loss.lower else Verdict.INCONCLUSIVE
        if own.lower > harm.loss.upper:
            less = Verdict.PASS
        by_verdict.setdefault(less, []).append(raised)
    here = f"ablating the circuit raises the loss by {own.estimate:.3g} nats here"
    return [
        Finding(verdict, f"{here}, {', '.join(raised)}{endings[verdict]}", whys[verdict])
        for verdict, raised in by_verdict.items()
    ]


def _worst(bench: Bench) -> Ranked:
    """Of the behavior that is kept least without the circuit, which it may not have with it."""
    views = {"whole model": WHOLE, "without the circuit": bench.without}
    (whole, without), found = runs_of(bench, views), []
    for loaded in bench.others:
        sample = asked_of(loaded)
        where = f"the answer of {loaded.spec.circuit} is preferred least without this circuit"
        found.append(least_preferred(where, sample, [without], whole))
    return max(found, key=lambda ranked: float((ranked.badness > -EPS).mean()))


def _cost(situation: Situation) -> Cost:
    shared = {Shared.WHOLE: situation.prompts, **situation.first(Shared.WITHOUT, situation.prompts)}
    controls = situation.spec.protocol.controls
    text = 2 * situation.spec.protocol.pairs + FEW * (2 + controls)
    pairs = sum(2 * drawn(x.spec, x.spec.protocol.pairs) + FEW * controls for x in situation.others)
    return Cost(shared | {Shared.WITHOUT_RANDOM: situation.controls}, own=text + 2 * pairs)


SPECIFIC = Claim(
    "specific",
    "ablating the circuit hurts this behavior, and others not",
    _decide,
    _cost,  # no law: it is about other prompts than those of its behavior
    tier="beyond",
    at_most=True,
    worst=_worst,
)
