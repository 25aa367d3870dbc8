"""Parts of the rest that are ablated while the circuit stays: random ones, and the worst found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pytest_circuits.circuit.rest import Part, Rest
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.view import View
from pytest_circuits.claims.adversary import worst_part
from pytest_circuits.claims.statistics import Floats, softplus
from pytest_circuits.prompts.space import Pair

FRACTIONS = tuple(tenth / 10 for tenth in range(1, 11))  # of the rest that a random part ablates
DRAWS = 3  # random parts of each fraction
ATTACKED = 8  # pairs on which the worst part is looked for


def random_parts(size: int, rng: np.random.Generator) -> list[Part]:
    """Random parts of the rest, DRAWS of each fraction in turn; the last ones are all of it."""
    parts = []
    for fraction in FRACTIONS:
        for _ in range(DRAWS):
            part = np.zeros(size, dtype=np.bool_)
            part[rng.permutation(size)[: round(fraction * size)]] = True
            parts.append(part)
    return parts


def parts_margins(
    runner: Runner, rest: Rest, pairs: Sequence[Pair], parts: Sequence[Part]
) -> Floats:
    """Margins with each of the random parts ablated, [fractions, draws, n, 2]."""
    margins = runner.margins_many(pairs, [rest.without(part) for part in parts])
    return margins.reshape(len(FRACTIONS), DRAWS, -1, 2)


def find_worst(
    runner: Runner, rest: Rest, pairs: Sequence[Pair], parts: Sequence[Part], margins: Floats
) -> View:
    """The model without the worst part that a bounded search finds.

    It starts from nothing, from all of the rest and from the worst of the random parts, whose
    margins are given, and looks at `pairs`.
    """
    losses = softplus(margins).mean(axis=(2, 3)).reshape(-1)  # [fractions * draws]
    losses = np.where(np.isfinite(losses), losses, np.inf)
    nothing = np.zeros(rest.size, dtype=np.bool_)
    starts = [nothing, ~nothing, parts[int(np.argmax(losses))]]
    return rest.without(worst_part(runner, pairs, rest, starts))
