"""What the other prompts of contrast pairs carry at the corresponding tokens.

It is what the ablation `contrast` puts in place of a node, and what shows whether a node answers to
the cue at all.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pytest_circuits.circuit.divided import counted
from pytest_circuits.circuit.encoding import Batch
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.model.protocol import Model, Shares
from pytest_circuits.model.tree import Tree


@torch.no_grad()
def carried(model: Model, tokens: Tensor, at: Tensor) -> dict[str, Tensor]:
    """What the whole model carries at each site, [B, T or 1, D]; tokens [B, T] asked at [B]."""
    found: dict[str, Tensor] = {}

    def record(name: str, x: Tensor) -> Tensor:
        found[name] = x
        return x

    model.run(tokens, record, at=at)
    return found


@torch.no_grad()
def carried_by_tree(model: Model, tree: Tree) -> dict[str, Tensor]:
    """The same for the beginnings of prompts, [1, P, D], and where the asked are all, [1, B, D]."""
    if not isinstance(model, Shares):
        found = carried(model, tree.padded, tree.last)
        return {name: tree.together(x) for name, x in found.items()}
    found = {}

    def record(name: str, x: Tensor) -> Tensor:
        found[name] = x
        return x

    model.run_shared(tree, record)
    return found


def from_neighbours(carried: Mapping[str, Tensor], places: Tensor) -> dict[str, Tensor]:
    """What partners carry where they stand side by side, rows 2i and 2i + 1: [B, T or 1, D].

    carried: what each row carries in the whole model. places: [B, T], index of the partner's token
    that corresponds to each of a row's.
    """
    fill = {}
    for name, x in carried.items():
        other = x.view(-1, 2, *x.shape[1:]).flip(1).flatten(0, 1)
        one = x.shape[1] == 1
        fill[name] = other if one else other.gather(1, places[..., None].expand_as(x))
    return fill


def distances(model: Model, batch: Batch, fill: Mapping[str, Tensor], nodes: Nodes) -> Tensor:
    """How far each node of the whole model is at most from a fill in a batch, [nodes]."""
    own, found = carried(model, batch.tokens, batch.last), []
    for name in nodes.shape:
        apart = (own[name] - fill[name]).abs()  # [B, T or 1, D]
        there = counted(model, name, batch.tokens, batch.last)
        if apart.shape[1] == 1:  # the asked tokens alone
            there = there.gather(1, batch.last[:, None])
        apart = apart * there[..., None]
        by_node = apart.amax(dim=(0, 1)).view(model.sites[name].width, -1).amax(dim=1)
        found.append(by_node[list(nodes.at(name))])
    return torch.cat(found)
