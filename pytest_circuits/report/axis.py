"""Figures of a claim on axes: what was seen, how sure that is, and what was needed.

All places are in user units of a drawing that is `WIDTH` wide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pytest_circuits.claims.evidence import Controls, Curve, Rate
from pytest_circuits.report import words

WIDTH = 300.0
HEIGHT = 100.0  # of a curve
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


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure of the circuit among those of random circuits."""

    observed: float
    random: str  # the path of a stroke for each of them
    limit: float | None
    label: str
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A figure over parts of the rest, in a drawing that is `HEIGHT` high."""

    path: str
    dots: tuple[tuple[float, float], ...]
    limit: float | None  # from the top
    zero: float
    label: str
    top: str
    bottom: str


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


def spread_of(controls: Controls) -> Spread | None:
    """The axis of a figure beside its controls; None where one of them is not a number."""
    limit = controls.limit
    shown = [controls.own, *controls.random, *([] if limit is None else [limit])]
    if not controls.random or not all(map(math.isfinite, shown)):
        return None
    low, high = min(0.0, *shown), max(shown)
    scale = (low, high if high > low else low + 1.0)
    random = "".join(f"M{_place(x, scale):g} 7v12" for x in controls.random)
    count, outer = len(controls.random), (controls.random[0], controls.random[-1])
    needed = "" if limit is None else f", at most {limit:.3g} needed"
    between = f"{outer[0]:.3g} to {outer[1]:.3g}"
    return Spread(
        observed=_place(controls.own, scale),
        random=random,
        limit=None if limit is None else _place(limit, scale),
        label=f"{controls.figure}: {controls.own:.3g}{needed}; {count} random circuits {between}",
        ticks=tuple((_place(x, scale), f"{x:.3g}") for x in dict.fromkeys(scale)),
    )


def line_of(curve: Curve) -> Line | None:
    """A curve over parts of the rest; None where a figure is not a number."""
    shown = [figure for _, figure in curve.points] + [0.0]
    shown += [] if curve.limit is None else [curve.limit]
    if not curve.points or not all(map(math.isfinite, shown)):
        return None
    low, high = min(shown), max(shown)
    scale = (low, high if high > low else low + 1.0)

    def height(figure: float) -> float:
        inside = (figure - scale[0]) / (scale[1] - scale[0])
        return round(HEIGHT - _SIDE - inside * (HEIGHT - 2 * _SIDE), 1)

    dots = tuple((_place(share, (0.0, 1.0)), height(figure)) for share, figure in curve.points)
    worst = max(figure for _, figure in curve.points)
    needed = "" if curve.limit is None else f", at most {curve.limit:.3g} needed"
    return Line(
        path="M" + "L".join(f"{x:g} {y:g}" for x, y in dots),
        dots=dots,
        limit=None if curve.limit is None else height(curve.limit),
        zero=height(0.0),
        label=f"{curve.figure}, at most {worst:.3g}{needed}",
        top=f"{scale[1]:.3g}",
        bottom=f"{scale[0]:.3g}",
    )


def _holds(scale: tuple[float, float], *shares: float) -> bool:
    """Whether a scale shows all of them, those beyond none and all of the prompts at its ends."""
    start, end = scale
    return all(start <= min(1.0, max(0.0, share)) <= end for share in shares)


def _place(share: float, scale: tuple[float, float]) -> float:
    start, end = scale
    inside = (min(end, max(start, share)) - start) / (end - start)
    return round(_SIDE + inside * (WIDTH - 2 * _SIDE), 1)
