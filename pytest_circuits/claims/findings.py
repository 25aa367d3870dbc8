"""What each part of a claim found, and how the parts add up to one verdict: the worst counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pytest_circuits.claims import statistics
from pytest_circuits.claims.evidence import WORST_FIRST, Evidence, Law, Rate, Verdict, percent
from pytest_circuits.claims.statistics import Floats

CONTROL_LEVEL = 0.05  # better than the 95th percentile of random circuits


@dataclass(frozen=True, slots=True)
class Finding:
    """One part of a claim decided: a verdict and the sentence that a person reads."""

    verdict: Verdict
    sentence: str


def conclude(
    claim: str,
    findings: Sequence[Finding],
    *,
    rate: Rate | None = None,
    law: Law | None = None,
    measures: Mapping[str, float | None] | None = None,
    remark: str = "",
) -> Evidence:
    """Evidence whose verdict is the worst of the findings; no finding at all is not a pass.

    remark: stands at the end of the reason, whatever the verdict.
    """
    if not findings:
        return Evidence(claim, Verdict.INCONCLUSIVE, "nothing was tested", rate, law)
    verdict = min((finding.verdict for finding in findings), key=WORST_FIRST.index)
    reason = "; ".join(f.sentence for f in findings if f.verdict is verdict) + remark
    finite = {
        # Adding zero makes a negative zero a plain one, so that equal evidence has equal bytes.
        name: value + 0.0 if value is not None and np.isfinite(value) else None
        for name, value in (measures or {}).items()
    }
    return Evidence(claim, verdict, reason, rate, law, finite)


def not_finite(claim: str, law: Law, **runs: Floats) -> Evidence | None:
    """Failing evidence when any run holds a NaN or an infinity, which no comparison would catch."""
    for name, margins in runs.items():
        bad = int((~np.isfinite(margins)).any(axis=-1).sum())
        if bad:
            what = name.replace("_", " ")
            sentence = f"{what}: {bad} of {len(margins)} results hold logits that are not numbers"
            return conclude(claim, [Finding(Verdict.FAIL, sentence)], law=law)
    return None


def at_least(rate: Rate, *, what: str, alpha: float) -> Finding:
    """Decide a rate that has to reach its threshold."""
    verdict = statistics.at_least(_interval(rate), rate.threshold)
    return Finding(verdict, _sentence(rate, verdict, what, alpha, ("at least", rate.lower)))


def at_most(rate: Rate, *, what: str, alpha: float) -> Finding:
    """Decide a rate that must not exceed its threshold."""
    verdict = statistics.at_most(_interval(rate), rate.threshold)
    return Finding(verdict, _sentence(rate, verdict, what, alpha, ("at most", rate.upper)))


def gap_finding(
    gap: statistics.Interval, most: float, *, what: str, alpha: float, exhaustive: bool
) -> Finding:
    """Decide how much higher than the whole model's a task loss may be, in nats."""
    verdict = statistics.at_most(gap, most)
    seen = f"{what} the task loss is {gap.estimate:+.3g} nats from the whole model's"
    needed = f"at most {most:+g} allowed"
    if exhaustive:
        return Finding(verdict, f"{seen} over the whole space ({needed})")
    sure = f"with {about(alpha)}"
    text = {
        Verdict.PASS: f"{seen} (at most {gap.upper:+.3g} {sure}; {needed})",
        Verdict.FAIL: f"{seen} (at least {gap.lower:+.3g} {sure}; {needed})",
        Verdict.INCONCLUSIVE: (
            f"{seen}, truly between {gap.lower:+.3g} and {gap.upper:+.3g} {sure}: undecided "
            f"({needed})"
        ),
    }
    return Finding(verdict, text[verdict])


def law_finding(law: Law, *, margin: float, typical: float, whose: str) -> Finding:
    """Decide a law: broken by one prompt, or without meaning when no prompt could break it.

    typical: the median size in nats of what the law compares with the margin.
    """
    if law.counterexample is not None:
        return Finding(Verdict.FAIL, law.counterexample.violation)
    if typical < margin:
        sentence = (
            f"a law with a margin of {margin:g} nats is no evidence here: {whose} is "
            f"{typical:.3g} nats at the median prompt, so hardly any prompt could break it"
        )
        return Finding(Verdict.INCONCLUSIVE, sentence)
    return Finding(Verdict.PASS, f"no counterexample in {law.searched} prompts")


def against_controls(p: float, *, controls: int, what: str) -> Finding:
    """Decide whether a circuit beats all but one in twenty random circuits of its shape."""
    beaten = controls + 1 - round(p * (controls + 1))
    sentence = f"{what} {beaten} of {controls} random circuits of the same shape (p = {p:.3f})"
    if p <= CONTROL_LEVEL:
        return Finding(Verdict.PASS, sentence)
    return Finding(Verdict.FAIL, f"{sentence}: no better than chance")


def confidence(alpha: float) -> str:
    """How sure a bound is: `99 % confidence`."""
    return f"{100 * (1 - alpha):g} % confidence"


def about(alpha: float) -> str:
    """How sure a bound of a mean is, which is not exact: see `statistics.mean`."""
    return f"about {confidence(alpha)}, by normal approximation"


def _interval(rate: Rate) -> statistics.Interval:
    return statistics.Interval(rate.estimate, rate.lower, rate.upper)


def _sentence(
    rate: Rate, verdict: Verdict, what: str, alpha: float, bound: tuple[str, float]
) -> str:
    words, value = bound
    needed = f"{words} {percent(rate.threshold)} needed"
    if rate.exhaustive:
        return f"{what} on {percent(rate.estimate)} of all {rate.n} prompts ({needed})"
    seen = f"{what} on {percent(rate.estimate)} of {rate.n} prompts"
    if verdict is not Verdict.INCONCLUSIVE:
        sure = f"{words} {percent(value)}" if verdict is Verdict.PASS else _other_bound(rate, words)
        return f"{seen} ({sure} with {confidence(alpha)}; {needed})"
    more = statistics.prompts_needed(rate.estimate, rate.threshold, alpha)
    advice = f"about {more} prompts would settle it" if more else "no number of prompts settles it"
    between = f"between {percent(rate.lower)} and {percent(rate.upper)}"
    return f"{seen}, truly {between}: undecided ({needed}; {advice}, see protocol.pairs)"


def _other_bound(rate: Rate, words: str) -> str:
    if words == "at least":
        return f"at most {percent(rate.upper)}"
    return f"at least {percent(rate.lower)}"
