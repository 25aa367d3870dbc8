"""Circuits in one forward, differentiable in the masks of their nodes.

What masks or their gradients say of each node puts the nodes in an order.

Letters in shapes: K searches, S runs of each, P prompts of each, T tokens, D nodes of a site.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from pytest_circuits.circuit.interventions import of_asked_tokens
from pytest_circuits.circuit.masks import given, mixing, of_nodes, over_channels
from pytest_circuits.circuit.nodes import Node
from pytest_circuits.model.protocol import Carry, Ends, Join, Model, Wire, joined
from pytest_circuits.prune.pool import Prompts


def sides(on: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A circuit and its complement, [K, 2, D] by site, of masks [K, D]."""
    return {name: torch.stack([mask, 1 - mask], dim=1) for name, mask in on.items()}


def alone(on: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A circuit by itself, [K, 1, D] by site, of masks [K, D]."""
    return {name: mask[:, None] for name, mask in on.items()}


def margins(
    model: Model,
    fill: Mapping[str, Tensor],
    keep: Mapping[str, Tensor],
    prompts: Prompts,
    *,
    cut: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Logit of the answer minus logit of the foil, in nats, of S runs of K circuits: [K, S, P].

    keep: masks [K, S, D] by site, 1 for a node that keeps its activation. fill: what the others
    become, the same for all prompts or a value for each, [K * P, T, D]. cut: masks [K, D] by site,
    whose every weight from one of their nodes to another carries the fill; of one run.
    """
    circuits, count = next(iter(keep.values())).shape[:2]
    rows, length = prompts.tokens.shape[1:]
    tokens = prompts.tokens[:, None].expand(-1, count, -1, -1).reshape(-1, length)
    last = prompts.last[:, None].expand(-1, count, -1).reshape(-1)
    values = {name: _of_runs(value, circuits, count, rows) for name, value in fill.items()}
    hook = mixing(
        circuits * count,
        of_nodes(model, {name: mask.flatten(0, 1) for name, mask in keep.items()}),
        given(values),
    )
    join = None if cut is None else _cutting(model, cut, fill, last)
    logits = joined(model, tokens, hook, join, at=last).view(circuits, count, rows, -1)
    choices = prompts.choices[:, None].expand(-1, count, -1, -1)
    answer, foil = logits.gather(-1, choices).unbind(-1)
    found: Tensor = answer - foil
    return found


def _of_runs(value: Tensor, circuits: int, count: int, rows: int) -> Tensor:
    """Values of each prompt [K * P, ...] for each run, [K * S, P, ...]; a constant as it is."""
    if value.dim() < 3:
        return value
    shape = value.shape[1:]
    by_run = value.view(circuits, 1, rows, *shape).expand(-1, count, -1, *shape)
    return by_run.flatten(0, 1)


def _cutting(
    model: Model, on: Mapping[str, Tensor], fill: Mapping[str, Tensor], at: Tensor
) -> Join:
    """A join that lets every weight between two nodes of a mask carry the fill, [K, D] by site."""

    def by_row(name: str, rows: int) -> Tensor:
        mask = over_channels(on[name], model, name)
        return mask.repeat_interleave(rows // len(mask), dim=0)[:, None]  # [K * P, 1, D]

    def join(ends: Ends, x: Tensor, carry: Carry, wire: Wire) -> Tensor:
        source, target = ends
        other = fill[source].to(x)
        other = of_asked_tokens(other, at) if x.shape[1] == 1 else other
        y: Tensor = wire.map(carry(x))
        taken = (carry(x - other) * by_row(source, len(x))) @ wire.weight.mT
        return y - taken * by_row(target, len(x))

    return join


def separation(margins: Tensor) -> Tensor:
    """How far apart the two prompts of each pair are, in nats per prompt: [..., P] -> [..., P/2].

    A constant preference for one of the tokens adds to one margin what it takes from the other.
    """
    return margins.view(*margins.shape[:-1], -1, 2).mean(-1)


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
