"""What an update did to a circuit, in one word."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from pytest_circuits.claims.statistics import ROUNDING
from pytest_circuits.spec import StableClaim

if TYPE_CHECKING:
    from pytest_circuits.claims.comparison import Comparison
    from pytest_circuits.diff.measure import Measured, Placed

DEFAULT = StableClaim(max_drop=0.02)  # the limits of a specification that does not declare any
HALF = 0.5  # of what the circuit tells apart: with less left, it does not do the job any more


class Kind(StrEnum):
    """What became of a circuit."""

    KEPT = "kept"  # it transfers: the same nodes do the same job in the same way
    WEAKENED = "weakened"  # it still does the job, and not as before
    MOVED = "moved"  # nodes at other addresses do the same job in the same way
    REPLACED = "replaced"  # the behavior is there, the circuit is not
    GONE = "gone"  # the behavior is not there any more


@dataclass(frozen=True, slots=True)
class Change:
    """What an update did to a circuit; where its nodes are now; and why it is called that."""

    kind: Kind
    reason: str
    now: Placed | None  # None: the candidate has no such nodes


def change_of(measured: Measured) -> Change:
    """Return the change, by the limits that the specification sets under `stable`.

    Whether the behavior is there is decided by what `behaves` asks for, else by `max_drop`.
    """
    claims = measured.loaded.spec.claims
    limits = claims.stable or DEFAULT
    before, after = measured.behaves
    least = claims.behaves.rate if claims.behaves else before - limits.max_drop
    stayed, found = measured.stayed, measured.found
    if after < least - ROUNDING:
        text = f"the whole model prefers the answer on {after:.1%} of prompts, not {before:.1%}"
        return Change(Kind.GONE, text, stayed)
    if stayed and not (broken := _broken(stayed.seen, limits)):
        return Change(Kind.KEPT, "transfer, identity and effects are within their limits", stayed)
    if found and not _broken(found.seen, limits):
        count = measured.match.moved
        text = f"{count} of {len(measured.node_ids)} nodes have other addresses"
        return Change(Kind.MOVED, text, found)
    if stayed is None:
        return Change(Kind.REPLACED, "the candidate has other hook points", None)
    if not stayed.seen.comparable:
        text = f"not comparable node by node (lineage {stayed.seen.lineage:.2f}), and not found"
        return Change(Kind.REPLACED, f"{text} at other addresses", stayed)
    left = stayed.side.separation / measured.before.separation
    kind = Kind.WEAKENED if left >= HALF and _needed(measured, stayed) else Kind.REPLACED
    return Change(kind, f"{broken}; {left:.0%} of what it told apart is left", stayed)


def _needed(measured: Measured, stayed: Placed) -> bool:
    """Whether the model still loses most of the behavior with the circuit."""
    before = measured.behaves[0] - measured.before.without
    return measured.behaves[1] - stayed.side.without >= HALF * before - ROUNDING


def _broken(seen: Comparison, limits: StableClaim) -> str:
    """Which limits an update exceeds, by its estimates; empty if none."""
    found = []
    if seen.drop.estimate > limits.max_drop + ROUNDING:
        found.append(f"alone its rate drops by {seen.drop.estimate:.1%}")
    if seen.rise.estimate > limits.max_rise + ROUNDING:
        found.append(f"without it {seen.rise.estimate:.1%} more pairs are told apart")
    if seen.identity < limits.identity.min_correlation:
        found.append(f"its signals correlate by {seen.identity:.2f}")
    if (moved := float(seen.apart.max(initial=0))) > limits.identity.max_attention:
        found.append(f"attention moves by {moved:.2f}")
    if seen.effects is not None and seen.effects < limits.effects.min_correlation:
        found.append(f"effects are ranked as before by {seen.effects:.2f}")
    if not seen.comparable:
        found.append(f"lineage is {seen.lineage:.2f}")
    return ", ".join(found)
