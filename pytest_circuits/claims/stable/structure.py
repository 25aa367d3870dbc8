"""How far circuits that are pruned anew on two models overlap, beside their overlap by seed alone.

Which of several equally good circuits a search ends in is partly chance, so that an overlap says
something only beside that of other seeds on the same model (Meloux et al. 2025, arXiv 2510.00845).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from pytest_circuits.circuit.nodes import Nodes


@dataclass(frozen=True, slots=True)
class Structure:
    """Intersection over union of nodes, means over pairs of searches.

    between: one of the baseline with one of the candidate. within: two of the baseline; least: of
    those, the lowest. chance: what random nodes in the same numbers would have.
    """

    between: float
    within: float
    least: float
    chance: float

    @property
    def kept(self) -> bool:
        """Whether the candidate's circuits are as near as the baseline's among themselves."""
        return self.between >= self.least


def structure_of(
    before: Sequence[Nodes], after: Sequence[Nodes], widths: Mapping[str, int]
) -> Structure:
    """Compare circuits that were pruned anew, at least two of the baseline.

    A search that found nothing overlaps with nothing.
    """
    within = [overlap(one, other) for one, other in combinations(before, 2)]
    pairs = list(product(before, after))
    return Structure(
        between=float(np.mean([overlap(*pair) for pair in pairs])),
        within=float(np.mean(within)),
        least=min(within),
        chance=float(np.mean([_by_chance(*pair, widths) for pair in pairs])),
    )


def overlap(one: Nodes, other: Nodes) -> float:
    """Intersection over union of two sets of nodes."""
    first, second = set(one), set(other)
    return len(first & second) / max(1, len(first | second))


def _by_chance(one: Nodes, other: Nodes, widths: Mapping[str, int]) -> float:
    shared = sum(n * other.shape.get(hook, 0) / widths[hook] for hook, n in one.shape.items())
    return shared / max(1.0, one.count + other.count - shared)
