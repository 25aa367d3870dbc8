"""What a row of the defect matrix is, and the circuits that most of them are about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pytest_circuits.claims.bench import Bench
from tests.known_models.copier import BRACKET_PATH, QUOTE_PATH, Circuit
from tests.known_models.workshop import Workshop


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of defect with the claim that is named for it, or of right circuit."""

    name: str
    plant: Callable[[Workshop], Bench]
    claim: str = ""
    missed: bool = False  # a defect that no claim catches

    @property
    def right(self) -> bool:
        """Whether the circuit has to pass every claim."""
        return not self.claim and not self.missed


def without_query(path: Circuit) -> Circuit:
    """A path without its query, which is constant: mean ablation leaves it what it is."""
    return {hook: nodes for hook, nodes in path.items() if hook != "0.attn.q"}


QUOTE, BRACKET = without_query(QUOTE_PATH), without_query(BRACKET_PATH)
