"""A claim's rate on one axis: what was seen, how sure that is, and what was needed.

All places are in user units of a drawing that is `WIDTH` wide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pytest_circuits.claims.evidence import Rate
from pytest_circuits.report import words

WIDTH = 300.0
_SIDE = 10.0  # left free on both sides
_SCALES = ((0.9, 1.0), (0.0, 0.1), (0.8, 1.0), (0.0, 0.2), (0.4, 1.0), (0.0, 0.6), (0.0, 1.0))


@dataclass(frozen=True, slots=True)
class Axis:
    """Where marks stand, from the left."""

    observed: float
    low: float  # of the interval
    high: float
    threshold: float
    allowed: tuple[float, float]  # from, and how wide: where the rate has to be
    label: str  # the same in words
    ticks: tuple[tuple[float, str], ...]
    controls: tuple[float, ...] = ()  # random circuits


def rate_axis(rate: Rate) -> Axis | None:
    """The axis of a rate, as long as its marks need; None where it is not a number."""
    sure = rate.upper if rate.at_most else rate.lower
    if not all(map(math.isfinite, (rate.estimate, rate.threshold, sure))):
        return None
    scale = next(s for s in _SCALES if _holds(s, rate.estimate, rate.threshold, sure))
    limit = _place(rate.threshold, scale)
    ends = (_SIDE, limit) if rate.at_most else (limit, WIDTH - _SIDE)
    low, high = sorted((_place(sure, scale), _place(rate.estimate, scale)))
    start, end = scale
    return Axis(
        observed=_place(rate.estimate, scale),
        low=low,
        high=high,
        threshold=limit,
        allowed=(ends[0], round(ends[1] - ends[0], 1)),
        label=f"observed {words.observed(rate)}, needed {words.bound(rate)}",
        ticks=tuple((_place(x, scale), f"{x:.0%}") for x in (start, (start + end) / 2, end)),
    )


def _holds(scale: tuple[float, float], *shares: float) -> bool:
    """Whether a scale shows all of them, those beyond none and all of the prompts at its ends."""
    start, end = scale
    return all(start <= min(1.0, max(0.0, share)) <= end for share in shares)


def _place(share: float, scale: tuple[float, float]) -> float:
    start, end = scale
    inside = (min(end, max(start, share)) - start) / (end - start)
    return round(_SIDE + inside * (WIDTH - 2 * _SIDE), 1)
