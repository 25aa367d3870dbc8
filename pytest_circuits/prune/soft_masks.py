"""A circuit and its complement in one forward, differentiable in the masks of the nodes.

What masks or their gradients say of each node puts the nodes in an order.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from pytest_circuits.circuit.masks import given, mixing, of_nodes
from pytest_circuits.circuit.nodes import Node
from pytest_circuits.model.protocol import Model
from pytest_circuits.prune.pool import Prompts


def margins(
    model: Model,
    fill: Mapping[str, Tensor],
    on: Mapping[str, Tensor],
    prompts: Prompts,
    *,
    complement: bool = True,
) -> Tensor:
    """Logit of the answer minus logit of the foil, in nats, for K circuits: [K, S, P].

    on: masks [K, D] by hook point, 1 for a node that keeps its activation. S is 2, the circuit and
    its complement, or 1 without the complement.
    """
    sides = {  # [K, D] -> [K * S, D]
        name: torch.stack([mask, 1 - mask] if complement else [mask], dim=1).flatten(0, 1)
        for name, mask in on.items()
    }
    count = 1 + complement
    circuits, rows, length = prompts.tokens.shape
    tokens = prompts.tokens[:, None].expand(-1, count, -1, -1).reshape(-1, length)
    last = prompts.last[:, None].expand(-1, count, -1).reshape(-1)
    hook = mixing(circuits * count, of_nodes(model, sides), given(fill))
    logits = model.run(tokens, hook, at=last).view(circuits, count, rows, -1)
    choices = prompts.choices[:, None].expand(-1, count, -1, -1)
    answer, foil = logits.gather(-1, choices).unbind(-1)
    found: Tensor = answer - foil
    return found


def separation(complement: Tensor) -> Tensor:
    """How far apart the two prompts of each pair are, in nats per prompt: [..., P] -> [..., P/2].

    A constant preference for one of the tokens adds to one margin what it takes from the other.
    """
    return complement.view(*complement.shape[:-1], -1, 2).mean(-1)


def in_order(
    values: Mapping[str, Sequence[float | list[float]]], *, without: Collection[Node] = ()
) -> list[Node]:
    """Nodes by a value of each, [D] by hook point, the least first, then by place in the model."""
    order = sorted(
        (value, place, i, hook)
        for place, (hook, row) in enumerate(values.items())
        for i, value in enumerate(row)
        if (hook, i) not in without
    )
    return [(hook, i) for *_, i, hook in order]
