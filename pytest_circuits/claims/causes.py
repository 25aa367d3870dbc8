"""What accounts for a counterexample: the nodes and edges that move its prompt most.

Gradients rank the rest of the model, and the best few are run exactly, several in one forward:
what is reported was measured.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.rest import Part, Rest
from pytest_circuits.circuit.view import View
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.evidence import Cause
from pytest_circuits.claims.parts_of_rest import flipped, loss_slopes
from pytest_circuits.claims.statistics import Floats
from pytest_circuits.prompts.space import Pair

TRIED = 6  # elements that are run exactly, the most promising first
NAMED = 3  # causes of a counterexample, at most


def causes_of_difference(bench: Bench, pair: Pair, part: Part) -> tuple[Cause, ...]:
    """Why a run with a part of the rest ablated differs from the whole model at `pair.first`.

    Either one element of the part restored, or it alone ablated in the whole model: a path of two
    missing nodes shows in the second way only, one of two that do the same in the first only.
    """
    rest, same, nothing = bench.rest, Pair(pair.first, pair.first), np.zeros_like(part)
    slopes = loss_slopes(bench.runner, [same], rest, [part, nothing])  # [2, size]
    ablated, whole = _scores(bench, same, rest, [part, nothing])
    gains = np.where(part, slopes * np.sign(whole - ablated), -np.inf)
    found = [
        *_measured(bench, same, rest, part, gains[0], before=ablated, goal=whole),
        *_measured(bench, same, rest, nothing, gains[1], before=whole, goal=ablated),
    ]
    return _greatest(found)


def causes_of_separation(bench: Bench, pair: Pair, view: View) -> tuple[Cause, ...]:
    """Through which nodes a pair is told apart in a view: ablated besides, one by one."""
    rest = Rest(Rest.of(Nodes(()), None, bench.model).nodes, tuple(view.cut or ()))
    part = rest.part(view)
    slopes = loss_slopes(bench.runner, [pair], rest, [part])  # [1, size]
    (separation,) = _scores(bench, pair, rest, [part])
    gains = np.where(part, -np.inf, slopes[0])
    return _greatest(_measured(bench, pair, rest, part, gains, before=separation, goal=0.0))


def _measured(
    bench: Bench, pair: Pair, rest: Rest, start: Part, gains: Floats, *, before: float, goal: float
) -> list[Cause]:
    """The most promising elements changed one by one, and how far each goes towards the goal."""
    indexes = [i for i in np.argsort(-gains, kind="stable")[:TRIED].tolist() if gains[i] > 0]
    if not indexes or before == goal:
        return []
    after = _scores(bench, pair, rest, [flipped(start, [index]) for index in indexes])
    return [
        Cause(
            part=rest.name(index),
            change="restored" if start[index] else "ablated",
            before=before,
            after=float(score),
            share=float((score - before) / (goal - before)),
        )
        for index, score in zip(indexes, after, strict=True)
    ]


def _greatest(found: Sequence[Cause]) -> tuple[Cause, ...]:
    """The causes with the largest shares; what moves nothing, or is not a number, is none."""
    real = [cause for cause in found if np.isfinite(cause.share) and cause.share > 0]
    return tuple(sorted(real, key=lambda cause: -cause.share)[:NAMED])


def _scores(bench: Bench, pair: Pair, rest: Rest, parts: Sequence[Part]) -> list[float]:
    """Mean margin of both members of a pair with each of the parts ablated."""
    margins = bench.runner.margins_many([pair], [rest.without(part) for part in parts])
    scores: list[float] = margins.mean(axis=(1, 2)).tolist()
    return scores
