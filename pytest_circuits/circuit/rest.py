"""The rest of a model beside a circuit, any part of which can be ablated while the circuit stays.

`sufficient` ablates all of the rest at once, and ablations can cancel each other. What the circuit
does has to survive the ablation of any part of the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import softplus

from pytest_circuits.circuit.edges import Edge, Edges, live_edges
from pytest_circuits.circuit.encoding import Batch, Floats, floats
from pytest_circuits.circuit.interventions import Cut, run_circuits
from pytest_circuits.circuit.nodes import Node, Nodes, grouped, node_id
from pytest_circuits.circuit.view import View
from pytest_circuits.model.protocol import Ends, Model

Part = NDArray[np.bool_]  # [size of the rest], what of it is ablated


@dataclass(frozen=True, slots=True)
class Rest:
    """What a circuit leaves out: nodes, then the weights between its nodes that it does not list.

    A part of it is a vector of booleans in this order.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    @classmethod
    def of(cls, nodes: Nodes, edges: Edges | None, model: Model) -> Rest:
        kept = set(nodes)
        others = tuple(
            (hook, channel)
            for hook, site in model.sites.items()
            for channel in range(site.width)
            if (hook, channel) not in kept
        )
        if edges is None:
            return cls(others, ())
        listed = set(edges)
        return cls(others, tuple(edge for edge in live_edges(nodes, model) if edge not in listed))

    @property
    def size(self) -> int:
        return len(self.nodes) + len(self.edges)

    def without(self, part: Part) -> View:
        off = np.flatnonzero(part).tolist()
        count = len(self.nodes)
        edges = [self.edges[index - count] for index in off if index >= count]
        nodes = Nodes.gather(self.nodes[index] for index in off if index < count)
        return View.without(nodes, Edges.gather(edges) if edges else None)

    def part(self, view: View) -> Part:
        """What a view without some nodes and weights ablates of the rest."""
        off = {*view.nodes, *(view.cut or ())}
        return np.array([element in off for element in (*self.nodes, *self.edges)], dtype=np.bool_)

    def name(self, index: int) -> str:
        """How texts call an element: `0.mlp.post_act[31]`, or two such and an arrow."""
        if index < len(self.nodes):
            return node_id(*self.nodes[index])
        (source, target), (first, second) = self.edges[index - len(self.nodes)]
        return f"{node_id(source, first)} -> {node_id(target, second)}"


def part_gradients(
    model: Model, batch: Batch, fill: Mapping[str, Tensor], rest: Rest, parts: Sequence[Part]
) -> Floats:
    """How the summed task loss of a batch grows with the ablation of each element, [K, size].

    An element that is ablated by a share lies between what it carries and the ablation's value; the
    derivatives are taken at shares of zero and one, those of K parts in one forward.
    """
    off = torch.tensor(np.stack(parts), dtype=torch.float32, device=model.device)
    off.requires_grad_()
    with torch.enable_grad():
        logits = run_circuits(
            model,
            batch.tokens,
            at=batch.last,
            keep=_soft_masks(model, rest, off),
            fill=fill,
            cuts=_soft_cuts(rest, off[:, len(rest.nodes) :]),
        )
        chosen = batch.preferences(logits)  # [K, B, 2]
        loss = softplus(chosen[..., 1] - chosen[..., 0]).sum()
        (gradient,) = torch.autograd.grad(loss, off)
    return floats(gradient)


def _soft_masks(model: Model, rest: Rest, off: Tensor) -> dict[str, Tensor]:
    """What is kept of each node, [K, width] by site; all of the circuit's own."""
    columns = grouped((name, index) for index, (name, _) in enumerate(rest.nodes))
    masks = {}
    for name, site in model.sites.items():
        indexes = columns.get(name, [])
        nodes = [rest.nodes[index][1] for index in indexes]
        into = torch.tensor(nodes, dtype=torch.long, device=off.device)
        whole = off.new_ones(len(off), site.width)
        masks[name] = whole.index_copy(1, into, 1 - off[:, indexes])
    return masks


def _soft_cuts(rest: Rest, off: Tensor) -> dict[Ends, Cut]:
    """Shares of the unlisted weights that are cut; off: [K, edges of the rest]."""
    cuts = {}
    for ends, indexes in grouped((ends, i) for i, (ends, _) in enumerate(rest.edges)).items():
        pairs = [rest.edges[index][1] for index in indexes]
        sources, targets = (sorted({pair[end] for pair in pairs}) for end in (0, 1))
        place = [targets.index(j) * len(sources) + sources.index(i) for i, j in pairs]
        share = off.new_zeros(len(off), len(targets) * len(sources))
        share = share.index_copy(1, torch.tensor(place, device=off.device), off[:, indexes])
        cuts[ends] = Cut.of(sources, targets, share.view(len(off), len(targets), len(sources)))
    return cuts
