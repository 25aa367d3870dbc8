"""A view of a model: which nodes keep their activation in a run, and which are ablated."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import torch

from pytest_circuits.circuit.nodes import Nodes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from pytest_circuits.model import Model


class Kept(Enum):
    """Which side of a set of nodes keeps its activations."""

    EVERYTHING = "everything"
    NODES = "nodes"
    REST = "rest"


@dataclass(frozen=True, slots=True)
class View:
    """One way to run a model; equal views give equal logits."""

    kept: Kept
    nodes: Nodes

    @classmethod
    def circuit(cls, nodes: Nodes) -> View:
        """Only the circuit: everything outside it is ablated."""
        return cls(Kept.NODES, nodes)

    @classmethod
    def without(cls, nodes: Nodes) -> View:
        """The complement: only the circuit is ablated."""
        return cls(Kept.REST, nodes)


WHOLE = View(Kept.EVERYTHING, Nodes(()))


def keep_masks(views: Sequence[View], model: Model) -> dict[str, Tensor]:
    """For every hook point the channels that keep their activation, [K, D] bool."""
    masks = {}
    for hook, width in model.hook_points.items():
        mask = torch.zeros(len(views), width, dtype=torch.bool)
        for row, view in enumerate(views):
            mask[row, list(view.nodes.at(hook))] = True
            if view.kept is not Kept.NODES:
                mask[row] = ~mask[row] if view.kept is Kept.REST else True
        masks[hook] = mask.to(model.device)
    return masks
