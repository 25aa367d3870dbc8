"""What an update did to a circuit, in one word."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from pytest_circuits.claims.bench import EPS
from pytest_circuits.claims.evidence import percent
from pytest_circuits.claims.stable.comparison import Comparison
from pytest_circuits.claims.statistics import ROUNDING
from pytest_circuits.diff.measure import Measured, Placed
from pytest_circuits.spec.types import StableClaim

DEFAULT = StableClaim(max_drop=0.02)  # the limits of a specification that does not declare any
HALF = 0.5  # of what it tells apart alone, and of what is lost without it: less is another circuit


class Kind(StrEnum):
    """What became of a circuit."""

    KEPT = "kept"  # it transfers: the same nodes do the same job in the same way
    WEAKENED = "weakened"  # not as before: at least half of what it tells apart, and still needed
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

    Whether the behavior is there is decided by what `behaves` asks for; where the model before did
    not reach that either, or nothing is asked for, by `max_drop`.
    """
    claims = measured.loaded.spec.claims
    limits = claims.stable or DEFAULT
    before, after = measured.behaves
    asked = claims.behaves.rate if claims.behaves else 0.0
    below = before < asked - ROUNDING
    least = before - limits.max_drop if below or not claims.behaves else asked
    if after < least - ROUNDING:
        text = (
            f"the whole model prefers the answer on {percent(after)} of prompts, before on "
            f"{percent(before)} (at least {percent(least)} needed)"
        )
        return Change(Kind.GONE, text, measured.stayed)
    change = _circuit_change(measured, limits)
    if not below:
        return change
    text = f"before, the whole model was below the {percent(asked)} that `behaves` asks for"
    return replace(change, reason=f"{change.reason}; {text}")


def _circuit_change(measured: Measured, limits: StableClaim) -> Change:
    """What became of the circuit, where the behavior is there."""
    stayed, found = measured.stayed, measured.found
    if stayed and not (broken := _broken(stayed.seen, limits)):
        return Change(Kind.KEPT, "transfer, identity and effects are within their limits", stayed)
    if found and not _broken(found.seen, limits):
        return Change(Kind.MOVED, _moved(measured.match.moved, len(measured.node_ids)), found)
    if stayed is None:
        return Change(Kind.REPLACED, "the candidate has other hook points", None)
    if not stayed.seen.comparable:
        text = f"not comparable node by node (lineage {stayed.seen.lineage:.2f}), and not found"
        return Change(Kind.REPLACED, f"{text} under other numbers", stayed)
    told = measured.before.separation
    left = stayed.side.separation / told if told > EPS else None
    enough = (left is None or left >= HALF) and _needed(measured, stayed)
    kind = Kind.WEAKENED if enough else Kind.REPLACED
    return Change(kind, f"{broken}; {_left(left)}", stayed)


def _left(share: float | None) -> str:
    """How much is left of what the circuit told apart alone; None: that was nothing."""
    if share is None:
        return "alone it told nothing apart before"
    if share >= 1:
        return "it tells no less apart than before"
    return f"{percent(max(share, 0.0))} of what it told apart is left"


def _moved(count: int, nodes: int) -> str:
    """How many nodes have moved, in the words of `--circuits-match`."""
    if nodes == 1:
        return "its only node has another number"
    return (
        f"{count} of {nodes} nodes {'has another number' if count == 1 else 'have other numbers'}"
    )


def _needed(measured: Measured, stayed: Placed) -> bool:
    """Whether the model still loses most of what it lost without the circuit, if that was any."""
    before = measured.behaves[0] - measured.before.without
    after = measured.behaves[1] - stayed.side.without
    return before <= ROUNDING or after >= HALF * before - ROUNDING


def _broken(seen: Comparison, limits: StableClaim) -> str:
    """Which limits an update exceeds, by its estimates; empty if none."""
    found = []
    if seen.drop.estimate > limits.max_drop + ROUNDING:
        found.append(f"alone its rate drops by {percent(seen.drop.estimate)}")
    if seen.rise.estimate > limits.max_rise + ROUNDING:
        found.append(f"without it {percent(seen.rise.estimate)} more pairs are told apart")
    if seen.factor > limits.max_factor + ROUNDING:
        before, after = (f"{a:.2f} of {w:.2f}" for a, w in zip(seen.alone, seen.whole, strict=True))
        found.append(f"alone it has {after} nats of the preference, before {before}")
    if seen.identity < limits.identity.min_correlation:
        found.append(f"its signals correlate by {seen.identity:.2f}")
    if seen.each < limits.identity.min_each:
        found.append(f"one of its nodes that does much has a signal alike by {seen.each:.2f}")
    if (moved := float(seen.apart.max(initial=0))) > limits.identity.max_attention:
        found.append(f"attention moves by {moved:.2f}")
    if seen.effects is not None and seen.effects < limits.effects.min_correlation:
        found.append(f"effects are ranked as before by {seen.effects:.2f}")
    if (change := float(seen.moved.max())) > limits.effects.max_change + ROUNDING:
        found.append(f"an effect changes by {percent(change)} of the preference")
    if not seen.comparable:
        found.append(f"lineage is {seen.lineage:.2f}")
    return ", ".join(found)
