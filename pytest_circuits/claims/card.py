"""What a claim is: one card, with the law that a single prompt can break, if it has one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.view import WHOLE, View
from pytest_circuits.claims.bench import EPS, Bench
from pytest_circuits.claims.cost import Cost, Situation
from pytest_circuits.claims.evidence import Cause, Evidence, Law, Rate
from pytest_circuits.claims.statistics import Floats, Interval
from pytest_circuits.prompts.changes import ChangeSpace
from pytest_circuits.prompts.space import Pair, Prompt
from pytest_circuits.spec.ablations import Ablation
from pytest_circuits.spec.types import Spec

Limits = TypeVar("Limits")
Tier = Literal["core", "beyond"]  # of the claims that a grade is made of


@dataclass(frozen=True, slots=True)
class Run:
    name: str
    margins: Callable[[Sequence[Pair]], Floats]  # [n, 2] nats, answer minus foil
    logits: Callable[[Prompt], tuple[float, float]] | None  # None: only margins were recorded
    ablation: Ablation | None = None  # of several, the one that it shows; None: it is about all


@dataclass(frozen=True, slots=True)
class LawCard:
    """The law of a claim, which one prompt breaks.

    runs: what it compares.
    excess: from the margins [n, 2] of each run, how far each prompt goes towards breaking the law,
        in nats [n, 2]; it breaks the law by the margin of the law or more.
    violation: one sentence about a pair and its member that break it, from margins [2] of each run
        by its name.
    searchable: whether Hypothesis can try any prompt of the space.
    scanned: the pairs of the rate, each of which the law is held against besides.
    margin: of the law, in nats.
    changes: all that the law is about where that is changes of prompts and not contrast pairs.
    causes: what accounts for a pair whose first member breaks the law.
    """

    runs: Callable[[Bench], tuple[Run, ...]]
    excess: Callable[[tuple[Floats, ...]], Floats]
    violation: Callable[[Pair, int, Mapping[str, Floats]], str]
    searchable: Callable[[Bench], bool] = lambda _bench: True
    scanned: Callable[[Bench], Sequence[Pair]] = lambda bench: bench.sample.pairs
    margin: Callable[[Bench], float] = lambda bench: bench.margin
    changes: Callable[[Bench], ChangeSpace] | None = None
    causes: Callable[[Bench, Pair], tuple[Cause, ...]] = lambda _bench, _pair: ()


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim about a circuit: all that the package knows of it, but for its limits in YAML."""

    name: str
    sentence: str  # what it says, in plain words
    decide: Callable[[Bench, Law], Evidence]
    cost: Callable[[Situation], Cost | None]  # None: not known before the run
    law: LawCard | None = None  # None: it is not about any one prompt
    at_most: bool = False  # its rate must not exceed its threshold, and not reach it
    tier: Tier | None = None  # what it counts for in the grade
    needs_nodes: bool = True  # it is about a circuit, and not about the whole model
    partner: str = "the other cue: answer and foil swapped"  # what a prompt's partner is


def limits_of(spec: Spec, kind: type[Limits]) -> Limits:
    """What a specification says of the claim that is decided, by the type of its limits."""
    found: Limits = next(limits for _, limits in spec.claims if type(limits) is kind)
    return found


def run_of(runner: Runner, view: View, *, name: str) -> Run:
    return Run(
        name,
        lambda pairs: runner.margins(pairs, view),
        lambda prompt: runner.logits(prompt, view),
        None if view == WHOLE else runner.ablation,
    )


def runs_of(bench: Bench, views: Mapping[str, View]) -> tuple[Run, ...]:
    return tuple(run_of(bench.runner, view, name=name) for name, view in views.items())


def rate_of(
    bench: Bench,
    claim: str,
    view: Callable[[Bench], View],
    threshold: float,
    *,
    at_most: bool = False,
) -> tuple[Rate, float | None]:
    """How often a view prefers the answer, and how that differs from the baseline's rate."""

    def measure(bench: Bench, runner: Runner) -> Interval:
        holds = runner.margins(bench.sample.pairs, view(bench)) > EPS
        return bench.sample.rate(holds, bench.spec.protocol.alpha, at_most=at_most)

    interval = measure(bench, bench.runner)
    rate = bench.sample.against(interval, threshold, at_most=at_most)
    return rate, bench.delta(claim, interval, measure)


def contradiction(margins: tuple[Floats, ...]) -> Floats:
    """By how much any other run goes against the first one's sign; nothing goes against a tie."""
    one, *others = margins
    against = np.max([-(other * np.sign(one)) for other in others], axis=0)
    return np.where(np.abs(one) > EPS, against, -np.inf)


def contradicting(margins: Mapping[str, Floats], member: int) -> str:
    """Which of the other runs goes most against the first one, by its name."""
    (_, one), *others = margins.items()
    return max(others, key=lambda other: -(other[1] * np.sign(one))[member])[0]


def furthest(bench: Bench, pair: Pair, view: Callable[[Bench], View]) -> Bench:
    """The bench under the ablation under which a view goes most against the whole model."""
    whole = bench.runner.margins([pair], WHOLE)[0, 0]

    def kept(each: Bench) -> float:
        return float(whole * each.runner.margins([pair], view(each))[0, 0])

    return min(bench.each, key=kept)


def median_size(margins: Floats) -> float:
    """Median magnitude in nats of margins of any shape."""
    return float(np.median(np.abs(margins)))


def preference(margin: float, pair: Pair, member: int) -> str:
    """Which token a run prefers and by how much: `prefers '"' by 3.2 nats`."""
    return f"prefers {preferred(margin, (pair.first, pair.second)[member])}"


def preferred(margin: float, prompt: Prompt) -> str:
    token = prompt.answer if margin > 0 else prompt.foil
    return f"{token!r} by {abs(margin):.2f} nats"
