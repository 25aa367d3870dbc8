"""Parts of the rest that circuits are tried against, whatever nodes these circuits have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pytest_circuits.circuit.edges import Edges
from pytest_circuits.circuit.nodes import Node, Nodes
from pytest_circuits.circuit.rest import Part, Rest
from pytest_circuits.circuit.view import Kept, View
from pytest_circuits.spec.ablations import Ablation


@dataclass(frozen=True, slots=True)
class Portion:
    """A part of the rest: all of it but some nodes, or those."""

    nodes: Nodes
    stays: bool  # the nodes are what is left intact of the rest; else they are what is ablated

    @classmethod
    def of(cls, part: Part, rest: Rest) -> Portion:
        """By the nodes that a part ablates, or by those that it leaves, whichever are fewer."""
        off = part[: len(rest.nodes)]
        stays = bool(off.sum() * 2 > len(off))
        chosen = np.flatnonzero(~off if stays else off)
        return cls(Nodes.gather(rest.nodes[i] for i in chosen), stays)

    def beside(self, circuit: Nodes, cut: Edges | None) -> View:
        """The model with the part ablated, and the circuit as it is, but for the edges `cut`."""
        kept = set(circuit)
        if self.stays:
            return View(Kept.NODES, Nodes.gather({*kept, *self.nodes}), cut=cut)
        return View.without(Nodes.gather(node for node in self.nodes if node not in kept), cut)


@dataclass(frozen=True, slots=True)
class Met:
    """One part that an attack found, or several of one size that were drawn at random.

    Of those that were drawn a claim takes the mean, on fewer pairs, and asks for no rate.
    """

    ablation: Ablation
    portions: tuple[Portion, ...]

    @property
    def drawn(self) -> bool:
        """Whether the parts were drawn at random."""
        return len(self.portions) > 1

    def small(self, few: int) -> Iterator[Node]:
        """The nodes of a part that has no more: in a circuit they are none of the rest."""
        (*_, last) = self.portions
        if not (self.drawn or last.stays) and last.nodes.count <= few:
            yield from last.nodes
