"""Parts of the rest that are ablated while the circuit stays: random ones, and the worst found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pytest_circuits.claims.adversary import worst_part
from pytest_circuits.claims.statistics import softplus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_circuits.circuit import View
    from pytest_circuits.circuit.rest import Part
    from pytest_circuits.claims.bench import Bench
    from pytest_circuits.claims.statistics import Floats
    from pytest_circuits.prompts import Pair

FRACTIONS = tuple(tenth / 10 for tenth in range(1, 11))  # of the rest that a random part ablates
DRAWS = 3  # random parts of each fraction
ATTACKED = 8  # pairs on which the worst part is looked for


def random_parts(bench: Bench) -> list[Part]:
    """Random parts of the rest, DRAWS of each fraction in turn; the last ones are all of it."""
    rng, size = bench.random(stream=3), bench.rest.size
    parts = []
    for fraction in FRACTIONS:
        for _ in range(DRAWS):
            part = np.zeros(size, dtype=np.bool_)
            part[rng.permutation(size)[: round(fraction * size)]] = True
            parts.append(part)
    return parts


def parts_margins(bench: Bench, parts: Sequence[Part]) -> Floats:
    """Margins with each of the random parts ablated, [fractions, draws, n, 2]."""
    views = [bench.rest.without(part) for part in parts]
    margins = bench.runner.margins_many(bench.control_pairs, views)
    return margins.reshape(len(FRACTIONS), DRAWS, -1, 2)


def find_worst(bench: Bench, parts: Sequence[Part], margins: Floats) -> View:
    """The model without the worst part that a bounded search finds.

    It starts from nothing, from all of the rest and from the worst of the random parts.
    """
    losses = softplus(margins).mean(axis=(2, 3)).reshape(-1)  # [fractions * draws]
    losses = np.where(np.isfinite(losses), losses, np.inf)
    nothing = np.zeros(bench.rest.size, dtype=np.bool_)
    starts = [nothing, ~nothing, parts[int(np.argmax(losses))]]
    return bench.rest.without(worst_part(bench.runner, _attacked(bench), bench.rest, starts))


def _attacked(bench: Bench) -> Sequence[Pair]:
    """Pairs of their own for the search; of a space that is run whole, some of it."""
    if bench.sample.exhaustive:
        return bench.sample.few(ATTACKED, seed=bench.seed)
    return bench.space.sample(ATTACKED, seed=bench.seed + 1)
