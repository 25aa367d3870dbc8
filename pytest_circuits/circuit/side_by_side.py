"""Run circuits beside the whole model in one forward, so that each can be held against it.

The first circuit of the forward is the whole model. What it carries at a site, or multiplies by at
a norm, is at hand for the others in the same rows: their nodes can be given its values, and their
norms its scales. Letters as in `interventions` and `attention`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pytest_circuits.circuit.attention import of_asked, patterns
from pytest_circuits.circuit.interventions import Cut, cut_edges
from pytest_circuits.circuit.masks import given, mixing, of_nodes
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.model.protocol import Ends, Model, Shows, gauges_of, joined


@dataclass(frozen=True, slots=True)
class Seen:
    """What the first two circuits of a forward, the whole model and another, carried.

    nodes: by site [2, B, T or 1, nodes, channels], the recorded nodes alone. weights: by layer the
    attention of the asked token, [2, B, H, T]; what is missing to one went to the sink.
    """

    nodes: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[int | None, Tensor] = field(default_factory=dict)


def run_beside(
    model: Model,
    tokens: Tensor,
    *,
    at: Tensor,
    keep: Mapping[str, Tensor],
    fill: Mapping[str, Tensor],
    cuts: Mapping[Ends, Cut],
    taken: Mapping[str, Tensor],
    frozen: Sequence[bool],
    record: Nodes,
) -> tuple[Tensor, Seen]:
    """Logits [K, B, V] of K circuits, the first of which keeps everything.

    tokens: [B, T]. at: [B] the asked token of each prompt. keep, taken: [K, width] by site, the
    nodes that are not ablated, and those that get the first circuit's values. frozen: the
    circuits whose norms multiply by the first one's scales. record: the nodes to remember.
    """
    seen, count, rows = Seen(), len(frozen), len(at)
    scales, attention = gauges_of(model, Shows.SCALE), patterns(model)
    own = {name: ~mask for name, mask in taken.items() if bool(mask.any())}
    ablate = mixing(count, of_nodes(model, keep), given(fill))
    take = mixing(count, of_nodes(model, own), lambda _name, mine: mine[:1])
    chosen = torch.tensor(frozen, device=model.device)[:, None, None, None]
    freeze = mixing(count, lambda _name, _mine: ~chosen, lambda _name, mine: mine[:1])

    def hook(name: str, x: Tensor) -> Tensor:
        if name in scales:
            return freeze(name, x)
        if name in attention:
            weights = of_asked(x[: 2 * rows], at.repeat(2))
            seen.weights[attention[name].layer] = weights.view(2, rows, *weights.shape[1:])
            return x
        x = take(name, ablate(name, x))
        if nodes := record.at(name):
            carried = channels_of(model, name, x[: 2 * rows], nodes)
            seen.nodes[name] = carried.view(2, rows, *carried.shape[1:])
        return x

    logits = joined(
        model,
        tokens.repeat(count, 1),
        hook,
        cut_edges(cuts, fill, at),
        at=at.repeat(count),
        gauges=(*attention, *(scales if any(frozen) else ())),
    )
    return logits.view(count, -1, logits.shape[-1]), seen


def values_of(model: Model, name: str, x: Tensor, nodes: Sequence[int]) -> Tensor:
    """One number for each of some nodes of a site: [..., D] -> [..., nodes].

    A node of several channels is as large as their Euclidean norm.
    """
    return size_of(channels_of(model, name, x, nodes))


def channels_of(model: Model, name: str, x: Tensor, nodes: Sequence[int]) -> Tensor:
    """What some nodes of a site carry: [..., D] -> [..., nodes, channels]."""
    site = model.sites[name]
    return x.view(*x.shape[:-1], site.width, site.channels)[..., list(nodes), :]


def size_of(carried: Tensor) -> Tensor:
    """One number for each node: [..., channels] -> [...]."""
    if carried.shape[-1] == 1:
        return carried[..., 0]
    sizes: Tensor = torch.linalg.vector_norm(carried, dim=-1)
    return sizes
