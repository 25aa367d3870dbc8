"""A view of a model: which nodes keep their activation in a run, and which are ablated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from pytest_circuits.circuit.edges import Edges
from pytest_circuits.circuit.interventions import Cut
from pytest_circuits.circuit.masks import masks_of
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.model.protocol import Ends, Model, wires_of
from pytest_circuits.prompts.space import Prompt


class Kept(Enum):
    """Which side of a set of nodes keeps its activations."""

    EVERYTHING = "everything"
    NODES = "nodes"
    REST = "rest"


@dataclass(frozen=True, slots=True)
class Shift:
    """A constant that a run adds to the logit of one of the two answers of a behavior."""

    answer: str
    nats: float


_NOTHING = Nodes(())


@dataclass(frozen=True, slots=True)
class View:
    """One way to run a model; equal views give equal logits."""

    kept: Kept
    nodes: Nodes
    edges: Edges | None = None  # of a circuit; None: every weight between its nodes
    shift: Shift | None = None  # of a circuit that is calibrated
    cut: Edges | None = None  # weights that carry the ablation's value, whatever nodes are kept
    among: Nodes = _NOTHING  # nodes between which every weight does

    @classmethod
    def circuit(
        cls, nodes: Nodes, edges: Edges | None = None, *, shift: Shift | None = None
    ) -> View:
        """Only the circuit: everything outside it is ablated, edges that are not listed too."""
        return cls(Kept.NODES, nodes, edges, shift)

    def added(self, prompt: Prompt) -> tuple[float, float]:
        """What is added to the logits of answer and foil after a prompt, in nats."""
        if self.shift is None:
            return 0.0, 0.0
        nats = self.shift.nats
        return (nats, 0.0) if prompt.answer == self.shift.answer else (0.0, nats)

    @classmethod
    def without(cls, nodes: Nodes, cut: Edges | None = None) -> View:
        """The complement: only the circuit is ablated, and the weights `cut` if given."""
        return cls(Kept.REST, nodes, cut=cut)

    @classmethod
    def disconnected(cls, nodes: Nodes) -> View:
        """Every weight between some nodes is cut, and all nodes are alive."""
        return cls(Kept.REST, _NOTHING, among=nodes)

    @property
    def blocks(self) -> Iterator[Nodes]:
        """Sets of nodes between which every weight is cut, but for those that are listed."""
        if self.edges is not None:
            yield self.nodes
        if self.among.count:
            yield self.among


WHOLE = View(Kept.EVERYTHING, _NOTHING)


def keep_masks(views: Sequence[View], model: Model) -> dict[str, Tensor]:
    """For every site the nodes that keep their activation, [K, width] bool."""
    masks = masks_of(model, [view.nodes for view in views])
    of_circuit, everything = (
        torch.tensor([[view.kept is kept] for view in views], device=model.device)
        for kept in (Kept.NODES, Kept.EVERYTHING)
    )
    return {name: (mask == of_circuit) | everything for name, mask in masks.items()}


def cut_weights(views: Sequence[View], model: Model) -> dict[Ends, Cut]:
    """The weights that views cut: those that they name, and those that their circuits do not."""
    cutting = {k: v for k, v in enumerate(views) if v.cut is not None or any(v.blocks)}
    cuts = {}
    for ends, wire in wires_of(model).items() if cutting else ():
        sources, targets = (
            sorted({c for view in cutting.values() for c in _touched(view, ends, end)})
            for end in (0, 1)
        )
        if not (sources and targets):
            continue
        share = torch.zeros(len(views), len(targets), len(sources))
        rows, columns = map(_places, (targets, sources), wire.weight.shape)
        for k, view in cutting.items():
            _write_cut(share[k], view, ends, rows, columns)
        cut = Cut.of(sources, targets, share.to(model.device))
        if bool((cut.share * cut.among(wire.weight)).any()):
            cuts[ends] = cut
    return cuts


def _touched(view: View, ends: Ends, end: int) -> Iterator[int]:
    """The channels at one end of the weights that a view may cut."""
    for nodes in view.blocks:
        yield from nodes.at(ends[end])
    if view.cut is not None:
        yield from (pair[end] for pair in view.cut.between(ends))


def _places(channels: Sequence[int], width: int) -> Tensor:
    """For each channel its place among some, [width]; -1 where it is none of them."""
    places = torch.full((width,), -1)
    places[list(channels)] = torch.arange(len(channels))
    return places


def _write_cut(share: Tensor, view: View, ends: Ends, rows: Tensor, columns: Tensor) -> None:
    """Write 1 for each weight that a view cuts into zeros [targets, sources].

    rows, columns: where the channels of the two ends have their place, see `_places`.
    """
    for nodes in view.blocks:
        sources, targets = (list(nodes.at(hook)) for hook in ends)
        share[rows[targets][:, None], columns[sources]] = 1.0
    for edges, value in ((view.edges, 0.0), (view.cut, 1.0)):
        listed = () if edges is None else edges.between(ends)
        if not listed:
            continue
        source, target = torch.tensor(listed, dtype=torch.long).unbind(1)
        row, column = rows[target], columns[source]
        there = (row >= 0) & (column >= 0)
        share[row[there], column[there]] = value
