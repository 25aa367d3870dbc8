"""What each part of a claim found, and how the parts add up to one verdict: the worst counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pytest_circuits.claims import statistics
from pytest_circuits.claims.evidence import (
    WORST_FIRST,
    Controls,
    Evidence,
    Law,
    Rate,
    Verdict,
    percent,
    prompts_of,
    rounded,
    shortened,
)
from pytest_circuits.claims.statistics import LOSS_CAP, LOSSES, Bools, Floats, Interval

CONTROL_LEVEL = 0.05  # better than the 95th percentile of random circuits
# Of the random circuits. With one half, junk of hundreds of nodes at 55 % was undecided with few
# controls and passed with many; right circuits are at 98 % and above. 19 controls, the fewest that
# there may be, can show three quarters, and not much more.
MOST = 0.75
_WHYS = 3  # findings that say in a few words why it is no pass


@dataclass(frozen=True, slots=True)
class Finding:
    """One part of a claim decided: a verdict and the sentence that a person reads."""

    verdict: Verdict
    sentence: str
    why: str = ""  # the same in a few words, where it is no pass; empty: how the sentence begins


def decided(*, holds: bool, sentence: str, why: str = "") -> Finding:
    return Finding(Verdict.PASS if holds else Verdict.FAIL, sentence, why)


def some(texts: Sequence[str], most: int, *, separator: str = ", ") -> str:
    """The first of several texts, and how many more there are."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return separator.join(texts[:most]) + more


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
        nothing = "nothing was tested"
        return Evidence(claim, Verdict.INCONCLUSIVE, nothing, rate, law, why=nothing)
    verdict = min((finding.verdict for finding in findings), key=WORST_FIRST.index)
    worst = [finding for finding in findings if finding.verdict is verdict]
    reason = "; ".join(finding.sentence for finding in worst) + remark
    whys = list(dict.fromkeys(f.why or shortened(f.sentence) for f in worst))
    why = "" if verdict is Verdict.PASS else some(whys, _WHYS)
    of_groups = {f"rate_at_{key}": estimate for key, estimate in (rate.groups if rate else ())}
    finite = {
        # Adding zero makes a negative zero a plain one, so that equal evidence has equal bytes.
        name: value + 0.0 if value is not None and np.isfinite(value) else None
        for name, value in {**(measures or {}), **of_groups}.items()
    }
    return Evidence(claim, verdict, reason, rate, law, finite, why=why)


def not_finite(claim: str, law: Law, **runs: Floats) -> Evidence | None:
    """Failing evidence when any run holds a NaN or an infinity, which no comparison would catch."""
    for name, margins in runs.items():
        if bad := int((~np.isfinite(margins)).any(axis=-1).sum()):
            what = name.replace("_", " ")
            sentence = f"{what}: {bad} of {len(margins)} results hold logits that are not numbers"
            found = Finding(Verdict.FAIL, sentence, "logits that are not numbers")
            return conclude(claim, [found], law=law)
    return None


def bounded(
    seen: str,
    interval: Interval,
    limit: float,
    *,
    needed: str,
    show: Callable[[float], str],
    alpha: float,
    exhaustive: bool,
    at_most: bool = True,
    capped: bool = False,
    advice: str = "",
    called: str = "the rate",
) -> Finding:
    """Decide a figure by its bounds, and say what was seen, how sure that is and what was needed.

    called: as the figure is called in a few words. limit: the most that it may be, or the least.
    exhaustive: the prompts are a whole space, and there is no error. capped: it is a mean of
    losses. advice: where undecided.
    """
    verdict = (statistics.at_most if at_most else statistics.at_least)(interval, limit)
    seen += worst_of(interval.group)
    why = f"{called} is too {'high' if at_most else 'low'}"
    if exhaustive:
        return Finding(verdict, f"{seen} ({needed})", why)
    sure = f"with {capped_confidence(alpha) if capped else confidence(alpha)}"
    if verdict is Verdict.INCONCLUSIVE:
        truly = f"truly {between(interval, show)}" + f" {sure}" * capped
        settled = f"{needed}; {advice}" if advice else needed
        return Finding(verdict, f"{seen}, {truly}: undecided ({settled})", f"{called} is undecided")
    is_below = at_most is (verdict is Verdict.PASS)
    bound = f"at most {show(interval.upper)}" if is_below else f"at least {show(interval.lower)}"
    return Finding(verdict, f"{seen} ({bound} {sure}; {needed})", why)


def worst_of(group: str) -> str:
    """What to say of a figure that is the worst of several groups of prompts; empty for one."""
    return f", worst at {group}" * bool(group)


def rate_finding(rate: Rate, *, what: str, alpha: float) -> Finding:
    return bounded(
        f"{what} on {percent(rate.estimate)} of {'all ' * rate.exhaustive}{prompts_of(rate)}",
        Interval(rate.estimate, rate.lower, rate.upper, rate.group),
        rate.threshold,
        needed=f"at {'most' if rate.at_most else 'least'} {percent(rate.threshold)} needed",
        show=percent,
        alpha=alpha,
        exhaustive=rate.exhaustive,
        at_most=rate.at_most,
        advice="" if rate.exhaustive else _prompts_that_settle(rate, alpha),
    )


def _prompts_that_settle(rate: Rate, alpha: float) -> str:
    more = statistics.prompts_needed(rate.estimate, rate.threshold, alpha)
    return _settled_by(more, what="prompts")


def pairs_that_settle(losses: Floats, most: float, alpha: float) -> str:
    """Advice where it is undecided whether the mean loss of pairs like these [n] is low enough."""
    return _settled_by(statistics.draws_needed(losses, most, alpha, LOSSES), what="pairs")


def _settled_by(more: int | None, *, what: str) -> str:
    advice = f"about {more} {what} would settle it" if more else f"no number of {what} settles it"
    return f"{advice}, see protocol.pairs"


def gap_finding(
    gap: Interval, most: float, *, what: str, alpha: float, exhaustive: bool
) -> Finding:
    """Decide how much higher than the whole model's a task loss may be, in nats."""
    seen = f"{what} the task loss is {gap.estimate:+.3g} nats from the whole model's"
    return bounded(
        seen + " over the whole space" * exhaustive,
        gap,
        most,
        needed=f"at most {most:+g} allowed",
        show="{:+.3g}".format,
        alpha=alpha,
        exhaustive=exhaustive,
        capped=True,
        called="the task loss",
    )


def law_finding(law: Law, *, margin: float = 0.0, typical: float = 0.0, whose: str = "") -> Finding:
    """Decide a law: broken by one prompt, or without meaning when no prompt could break it.

    typical: the median size in nats of what the law compares with the margin.
    """
    if law.counterexample is not None:
        return Finding(Verdict.FAIL, law.counterexample.violation, "a prompt breaks the law")
    if typical < margin:
        sentence = (
            f"a law with a margin of {margin:g} nats is no evidence here: {whose} is "
            f"{typical:.3g} nats at the median prompt, so hardly any prompt could break it"
        )
        return Finding(Verdict.INCONCLUSIVE, sentence, "hardly any prompt could break the law")
    return Finding(Verdict.PASS, f"no counterexample in {law.searched} prompts")


def against_controls(p: float, *, controls: int, what: str) -> Finding:
    """Decide whether a circuit beats all but one in twenty random circuits of its shape."""
    beaten = controls + 1 - round(p * (controls + 1))
    sentence = f"{what} {beaten} of {controls} random circuits of the same shape (p = {p:.3f})"
    better = p <= CONTROL_LEVEL
    sentence += ": no better than chance" * (not better)
    return decided(holds=better, sentence=sentence, why="no better than random circuits")


def controls_of(
    figure: str, own: float, random: Iterable[float], *, limit: float | None = None
) -> Controls:
    """A figure of the circuit beside those of random circuits, as reports draw it."""
    return Controls(figure, rounded(own), tuple(sorted(map(rounded, map(float, random)))), limit)


def most_controls(
    outdone: Bools, seen: str, *, alpha: float, failed: str, undecided: str
) -> Finding:
    """Decide what has to hold beside most random circuits, [K]; failed, undecided: end `seen`.

    Not beside all of them: a random one may hold a node that everything runs through, and the
    circuit at hand is none the worse for it.
    """
    verdict = statistics.at_least(statistics.rate(outdone, alpha), MOST)
    if verdict is Verdict.PASS:
        return Finding(verdict, seen)
    end = failed if verdict is Verdict.FAIL else undecided
    why = "no better than random circuits" if verdict is Verdict.FAIL else "too few random circuits"
    return Finding(verdict, f"{seen} (at least {percent(MOST)} needed){end}", why)


def between(interval: Interval, show: Callable[[float], str]) -> str:
    return f"between {show(interval.lower)} and {show(interval.upper)}"


def confidence(alpha: float) -> str:
    """How sure a bound is: `99 % confidence`."""
    return f"{100 * (1 - alpha):g} % confidence"


def capped_confidence(alpha: float) -> str:
    """How sure a bound of a mean of losses is, and what it is a bound of."""
    return f"{confidence(alpha)}, losses beyond {LOSS_CAP:g} nats counted as {LOSS_CAP:g}"
