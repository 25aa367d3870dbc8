"""What each claim needs for its threshold, and whether it will be a proof."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_circuits.claims.bench import MOST_CHANGES
from pytest_circuits.claims.evidence import percent
from pytest_circuits.claims.registry import declared
from pytest_circuits.claims.stable.observation import MOST_PAIRS
from pytest_circuits.plan.power import allowed, least
from pytest_circuits.prompts.changes import ChangeSpace
from pytest_circuits.prompts.space import PromptSpace
from pytest_circuits.spec.template import cue_name
from pytest_circuits.spec.types import Spec

POWER = 0.99
CHANCE = 0.5


@dataclass(frozen=True, slots=True)
class Threshold:
    """What a claim asks of its rate, said of the prompts that go wrong."""

    text: str  # as the summary of a run has it
    share: float  # of the prompts that may go wrong
    alpha: float
    supposed: tuple[tuple[str, float], ...]  # true rates, as text, and as a share that goes wrong

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
    n: int  # prompts that its rate will be made of

    @property
    def wrong(self) -> int | None:
        """The most prompts of a sample that may go wrong; None where none may, nor all be right."""
        limit = self.threshold
        return allowed(limit.share, n=self.n, alpha=limit.alpha) if limit else None

    @property
    def fewest(self) -> int:
        """The prompts that are enough if none goes wrong."""
        limit = self.threshold
        return (limit and least(limit.share, alpha=limit.alpha)) or 0

    @property
    def is_hopeless(self) -> bool:
        """Say whether the sample is too small for a pass, whatever the model does."""
        return self.threshold is not None and not self.proof and self.wrong is None


def needs_of(spec: Spec) -> tuple[Need, ...]:
    """Return what each declared claim needs."""
    return tuple(_need(spec, claim) for claim in declared(spec))


def _need(spec: Spec, claim: str) -> Need:
    space, pairs = PromptSpace(spec.behavior), spec.protocol.pairs
    proof = space.size <= pairs
    n = 2 * space.size if proof else pairs
    if not proof and claim == "stable":
        n = min(n, MOST_PAIRS)  # a baseline file holds no more
    if proof and (most := _most_changes(spec, claim, space)):
        proof = most <= MOST_CHANGES
        n = most if proof else space.size
    return Need(claim, _threshold(spec, claim), proof, n)


def _most_changes(spec: Spec, claim: str, space: PromptSpace) -> int:
    """How many changes of slots a claim is about, at most; 0 for a claim about prompts."""
    slots = tuple(getattr(getattr(spec.claims, claim), "slots", ()))
    together = [slots] if claim == "blind" else [(slot,) for slot in slots]
    cue = (cue_name(spec.behavior),)
    return max(
        (ChangeSpace(space, some).most for some in together if some != cue and some), default=0
    )


def _threshold(spec: Spec, claim: str) -> Threshold | None:
    limits, alpha = getattr(spec.claims, claim), spec.protocol.alpha
    if hasattr(limits, "rate"):
        share = 1 - limits.rate
        supposed = tuple((percent(1 - part * share), part * share) for part in (0.5, 0.1))
        return Threshold(f"≥ {percent(limits.rate)}", share, alpha, supposed)
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
