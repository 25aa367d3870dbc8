"""The numbers behind a verdict, as plain values that can cross processes and be written as JSON."""

from __future__ import annotations

import math
import re
import textwrap
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator

# JSON has no number that is not finite: it is written as null, and read so.
Number = Annotated[float, BeforeValidator(lambda given: math.nan if given is None else given)]


class Verdict(StrEnum):
    """What the evidence says about a claim; only `pass` lets a release through."""

    PASS = "pass"  # noqa: S105  (a verdict, not a password)
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


_FEW_WORDS = 60  # characters
WORST_FIRST = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS)


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of the prompts with its one-sided bounds; over a whole space all three are equal."""

    estimate: Number  # the share that was observed
    lower: Number  # one-sided bound, at the error of the protocol
    upper: Number  # the same from above
    threshold: Number  # the limit of the claim
    n: int  # prompts
    exhaustive: bool  # over the whole space, so that there is no error
    at_most: bool = False  # the threshold is the most that is allowed, and not the least
    group: str = ""  # of several groups of prompts, the worst, of which it is
    groups: tuple[tuple[str, Number], ...] = ()  # what was estimated for each, by its key
    distinct: int | None = None  # prompts among its draws; None: each is another one


@dataclass(frozen=True, slots=True)
class Cause:
    """One node or edge whose change alone accounts for a share of a counterexample."""

    part: str  # `0.mlp.post_act[31]`, or an edge between two such
    change: str  # "restored" or "ablated"
    before: Number  # nats, of what is explained: a margin, or for `necessary` a separation
    after: Number  # the same with the change
    share: Number  # of the whole difference; several need not add up to one


@dataclass(frozen=True, slots=True)
class Counterexample:
    """One prompt that breaks a law: what was asked, and what each run preferred."""

    prompt: str  # its text
    answer: str  # the token that should follow
    foil: str  # the token that should not
    partner: str  # the other prompt of the contrast pair
    tokens: tuple[str, ...]  # of the prompt, as texts
    margins: dict[str, float | None]  # nats, answer minus foil, per run; None: not a number
    logits: dict[str, dict[str, float | None]]  # per run: {"answer": ..., "foil": ...}
    violation: str  # one sentence: how the law is broken
    causes: tuple[Cause, ...] = ()  # the greatest first
    runs: tuple[str, ...] = ()  # in the order in which they are shown
    under: tuple[str, ...] = ()  # the ablations of which the runs alone break the law
    sent: tuple[Number, ...] = ()  # nats: by each token on to later ones; empty: it is not known


@dataclass(frozen=True, slots=True)
class Law:
    """What the search for a counterexample did: prompts tried, and the smallest that was found."""

    searched: int  # prompts that were tried
    counterexample: Counterexample | None = None  # the smallest; None: none was found


@dataclass(frozen=True, slots=True)
class Seen:
    """What one run made of a prompt, in nats; None: not a number, or only margins are known."""

    run: str  # its name, such as `whole model`
    answer: float | None  # logit of the answer
    foil: float | None  # logit of the foil
    margin: float | None  # answer minus foil


@dataclass(frozen=True, slots=True)
class Asked:
    """One prompt, and what each run preferred there."""

    prompt: str  # its text
    answer: str  # the token that should follow
    foil: str  # the token that should not
    partner: str  # the other prompt of the pair
    seen: tuple[Seen, ...]  # what each run made of it
    tokens: tuple[str, ...] = ()  # of the prompt, as texts
    sent: tuple[Number, ...] = ()  # as of a counterexample


@dataclass(frozen=True, slots=True)
class Worst:
    """The prompts that went worst for a claim, the worst first."""

    where: str  # by what: "the whole model prefers the answer least"
    prompts: tuple[Asked, ...]  # three at most


@dataclass(frozen=True, slots=True)
class Controls:
    """A figure of the circuit, and the same of the random circuits that it is compared with."""

    figure: str  # with its unit: "task loss, nats"
    own: Number  # the circuit's
    random: tuple[Number, ...]  # of each random circuit, the lowest first
    limit: Number | None = None  # what the claim allows at most; None: it names no limit
    under: str = ""  # the ablation


@dataclass(frozen=True, slots=True)
class Curve:
    """A figure for parts of the rest of growing size."""

    figure: str  # with its unit
    points: tuple[tuple[Number, Number], ...]  # share of the rest that is ablated, and the figure
    limit: Number | None = None  # what the claim allows at most; None: it names none
    under: str = ""  # the ablation


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one claim came to, with all numbers behind its verdict."""

    claim: str  # its name
    verdict: Verdict  # of this claim alone
    reason: str  # one sentence, also for a pass
    rate: Rate | None = None  # None: it is about no rate
    law: Law | None = None  # None: it has none, or nothing was searched
    measures: dict[str, float | None] = field(default_factory=dict)  # e.g. task_loss, control_p
    under: dict[str, Verdict] = field(default_factory=dict)  # by ablation
    worst: Worst | None = None  # None: it passes, or is not about single prompts
    why: str = ""  # the reason of what is no pass in a few words, for a row of a table
    controls: tuple[Controls, ...] = ()  # the figures that random circuits are compared in
    curves: tuple[Curve, ...] = ()  # parts of the rest


def rounded(value: float) -> float:
    """A figure that is drawn and decides nothing, with four digits."""
    return float(f"{value:.4g}")


def prompts_of(rate: Rate) -> str:
    """How many prompts a rate is made of: `500 prompts (312 distinct)`."""
    count = f"{rate.n} prompts"
    return count if rate.distinct is None else f"{count} ({rate.distinct} distinct)"


def shortened(sentence: str) -> str:
    """How a sentence begins, for where there is room for a few words."""
    begins = re.split("[:;(]", sentence, maxsplit=1)[0]
    return textwrap.shorten(begins, _FEW_WORDS, placeholder="…")


def percent(value: float) -> str:
    """A share as a percentage with one decimal, never rounded up to 100 or down to 0."""
    shown = f"{100 * value:.1f}"
    if shown == "100.0" and value < 1:
        shown = "99.9"
    if shown == "0.0" and value > 0:
        shown = "0.1"
    return f"{shown} %"
