"""What each claim needs for its threshold, whether it will be a proof, and what it costs.

All is said of what goes wrong: a rate that has to be at least 98 % allows 2 % of the prompts to.
The bound of Clopper and Pearson keeps to a share exactly when seeing so few wrong ones would have
at most the probability alpha if the share were the true one; no interval is needed to count.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import bdtr

from pytest_circuits.circuit.view import WHOLE
from pytest_circuits.claims import statistics
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.cost import Run, Situation
from pytest_circuits.claims.evidence import percent
from pytest_circuits.claims.registry import CLAIMS, declared
from pytest_circuits.claims.sample import MOST_CHANGES
from pytest_circuits.claims.stable.observation import MOST_PAIRS
from pytest_circuits.claims.statistics import LOSSES
from pytest_circuits.model.protocol import Model
from pytest_circuits.prompts.changes import ChangeSpace
from pytest_circuits.prompts.space import PromptSpace
from pytest_circuits.spec.load import LoadedSpec
from pytest_circuits.spec.template import cue_name
from pytest_circuits.spec.types import Spec

POWER = 0.99
CHANCE = 0.5
MOST = 10_000_000  # prompts
TIMED = 64  # pairs of prompts that are run to see how long one takes


@dataclass(frozen=True, slots=True)
class Threshold:
    """What a claim asks of its rate, said of the prompts that go wrong."""

    text: str  # as the summary of a run has it
    share: float  # of the prompts that may go wrong
    alpha: float
    supposed: tuple[tuple[str, float], ...]  # true rates, as text, and as a share that goes wrong
    max_loss: float | None = None  # nats; what the claim asks of a mean besides

    def prompts(self) -> tuple[str, ...]:
        """How many prompts each supposed rate needs: `99.0 %: 1142`."""
        found = (
            (text, least(self.share, alpha=self.alpha, true=true, power=POWER))
            for text, true in self.supposed
        )
        return tuple(f"{text}: {n:,}" if n else f"{text}: too many" for text, n in found)


@dataclass(frozen=True, slots=True)
class Need:
    """One claim: how it will be decided, and what it needs for that."""

    claim: str
    threshold: Threshold | None  # None: it is not decided by a rate
    proof: bool
    n: int  # prompts that its rate will be made of, for each group of prompts

    @property
    def wrong(self) -> int | None:
        """The most prompts of a sample that may go wrong; None where none may, nor all be right."""
        limit = self.threshold
        return allowed(limit.share, n=self.n, alpha=limit.alpha) if limit else None

    @property
    def fewest(self) -> int:
        limit = self.threshold
        if limit is None:
            return 0
        prompts = least(limit.share, alpha=limit.alpha) or 0
        if limit.max_loss is None:
            return prompts
        return max(prompts, statistics.fewest_draws(limit.max_loss, limit.alpha, LOSSES))

    @property
    def is_hopeless(self) -> bool:
        """Say whether the sample is too small for a pass, whatever the model does."""
        if self.threshold is None or self.proof:
            return False
        return self.wrong is None or self.n < self.fewest


def needs_of(spec: Spec) -> tuple[Need, ...]:
    return tuple(_need(spec, claim) for claim in declared(spec))


def _need(spec: Spec, claim: str) -> Need:
    space, pairs = PromptSpace(spec.behavior), spec.protocol.pairs
    most = max(group.size for group in space.groups)
    proof = most <= pairs
    n = 2 * most if proof else pairs
    if not proof and claim == "stable":
        n = min(n, MOST_PAIRS)  # a baseline file holds no more
    if proof and (changes := _most_changes(spec, claim, space)):
        proof = changes <= MOST_CHANGES
        n = changes if proof else most
    return Need(claim, _threshold(spec, claim), proof, n)


def _most_changes(spec: Spec, claim: str, space: PromptSpace) -> int:
    """How many changes of slots a claim is about in a group, at most; 0: it is about prompts."""
    slots = tuple(getattr(getattr(spec.claims, claim), "slots", ()))
    together = [slots] if claim == "blind" else [(slot,) for slot in slots]
    cue = (cue_name(spec.behavior),)
    spaces = (ChangeSpace(space, some) for some in together if some != cue and some)
    return max((changes.most for each in spaces for changes in each.groups), default=0)


def _threshold(spec: Spec, claim: str) -> Threshold | None:
    limits, alpha = getattr(spec.claims, claim), spec.protocol.alpha
    if hasattr(limits, "rate"):
        share = 1 - limits.rate
        supposed = tuple((percent(1 - part * share), part * share) for part in (0.5, 0.1))
        loss = getattr(limits, "max_loss", None)
        return Threshold(f"≥ {percent(limits.rate)}", share, alpha, supposed, loss)
    if hasattr(limits, "max_rate"):
        shares = ((CHANCE + limits.max_rate) / 2, CHANCE)
        supposed = tuple((percent(share), share) for share in shares)
        return Threshold(f"≤ {percent(limits.max_rate)}", limits.max_rate, alpha, supposed)
    if hasattr(limits, "max_drop"):
        supposed = tuple(
            (percent(part * limits.max_drop), part * limits.max_drop) for part in (0.5, 0.1)
        )
        # A drop is the difference of two shares, each of which gets half of the error.
        return Threshold(f"≤ {percent(limits.max_drop)}", limits.max_drop, alpha / 2, supposed)
    return None


def allowed(share: float, *, n: int, alpha: float) -> int | None:
    """The most of n prompts that may go wrong if at most this share is to be shown.

    None: n prompts are too few to show it even when none goes wrong.
    """
    fit = bisect_right(range(n), alpha, key=lambda wrong: float(bdtr(wrong, n, share)))
    return fit - 1 if fit else None


def least(share: float, *, alpha: float, true: float = 0.0, power: float = 0.99) -> int | None:
    """The fewest prompts with which a share that is really `true` is shown with this power.

    Each number of wrong prompts is first allowed at some number of prompts, and there the power is
    the greatest for it; so it is enough to look at those. None: more than ten million.
    """
    wrong = 0
    while (n := _first(share, wrong, alpha)) is not None:
        if bdtr(wrong, n, true) >= power:
            return n
        wrong += 1 + wrong // 200
    return None


def _first(share: float, wrong: int, alpha: float) -> int | None:
    """The fewest prompts of which so many may go wrong."""
    many = range(wrong + 1, MOST + 1)
    place = bisect_left(many, -alpha, key=lambda n: -float(bdtr(wrong, n, share)))
    return many[place] if place < len(many) else None


def costs_of(
    spec: Spec, model: Model | None, others: Sequence[LoadedSpec]
) -> dict[str, int | None]:
    """What each declared claim adds, in their order: prompt-forwards, at most.

    others: those of `specific`. None: what a claim adds is not known before the run.
    """
    situation = Situation(spec, model, tuple(others))
    counted: dict[Run, int] = {}  # prompts of the shared runs so far
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
