"""What a node counts in a search for rivals: more, where a circuit that is known has it.

Masks pay for it as they learn, a ranking counts what such a node does for less, and of circuits
that are good enough the cheapest is taken, which is the one of the fewest nodes otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from pytest_circuits.circuit.nodes import Node

PRICE = 5  # of a node that a known circuit has, in nodes


def cost(nodes: Iterable[Node], priced: Collection[Node]) -> int:
    """What a circuit costs: its nodes, those that are priced as so many."""
    return sum(PRICE if node in priced else 1 for node in nodes)


def discounted(
    slopes: Mapping[str, Sequence[float]], priced: Collection[Node]
) -> dict[str, list[float]]:
    """Slopes by hook point, where what a priced node helps, below zero, counts for less."""
    return {
        hook: [
            value / PRICE if value < 0 and (hook, i) in priced else value
            for i, value in enumerate(row)
        ]
        for hook, row in slopes.items()
    }
