"""What heads attend to from the asked token: seen through the gauges of a model.

Letters: N rows, T tokens, H heads, Q queries.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.model.protocol import Gauge, Kind, Model, Shows, gauges_of, sites_of

Head = tuple[int, int]  # its layer, and its index there
AIMS = {Kind.QUERY: "queries", Kind.KEY: "keys"}  # what decides where a head looks


def kept_heads(nodes: Nodes, model: Model) -> tuple[Head, ...]:
    """Every head of which a circuit keeps a value, or all."""
    found = set()
    for name, site in sites_of(model, Kind.VALUE, Kind.HEAD).items():
        heads = {site.head_of(node) for node in nodes.at(name)}
        found |= {(site.layer or 0, head) for head in heads if head is not None}
    return tuple(sorted(found))


def nodes_of_heads(nodes: Nodes, model: Model, heads: Collection[Head]) -> Nodes:
    """The queries, keys and values of some heads that a circuit keeps."""
    sites = sites_of(model, Kind.VALUE, Kind.HEAD, *AIMS)
    return Nodes.gather(
        (name, channel)
        for name, channel in nodes
        if name in sites and (sites[name].layer, sites[name].head_of(channel)) in heads
    )


def aimless_heads(nodes: Nodes, model: Model) -> dict[Head, tuple[str, ...]]:
    """Each head of which a circuit keeps a value but no query, or no key: what it lacks.

    Where it looks is left to what ablation puts in their place.
    """
    lacking = {
        head: tuple(what for kind, what in AIMS.items() if _lacks(nodes, model, kind, *head))
        for head in kept_heads(nodes, model)
    }
    return {head: missing for head, missing in lacking.items() if missing}


def _lacks(nodes: Nodes, model: Model, kind: Kind, layer: int, head: int) -> bool:
    """Whether a circuit keeps no node of this kind of a head that has some."""
    mine = {name: site for name, site in sites_of(model, kind).items() if site.layer == layer}
    return bool(mine) and not any(
        site.head_of(node) == head for name, site in mine.items() for node in nodes.at(name)
    )


def shows_attention(model: Model) -> bool:
    """Whether a model shows what every head attends to that a circuit could keep."""
    layers = {site.layer for site in sites_of(model, Kind.VALUE, Kind.HEAD).values()}
    return bool(layers) and layers <= {gauge.layer for gauge in patterns(model).values()}


def patterns(model: Model) -> dict[str, Gauge]:
    return gauges_of(model, Shows.PATTERN)


def of_asked(pattern: Tensor, at: Tensor) -> Tensor:
    """The attention of one token of each row, [N, H, T], from [N, H, Q, T]."""
    if pattern.shape[2] == 1:
        return pattern[:, :, 0]
    return pattern[torch.arange(len(at), device=at.device), :, at]


def whole_attention(model: Model, tokens: Tensor, at: Tensor, heads: Sequence[Head]) -> Tensor:
    """Attention of some heads in the whole model: tokens [N, T], asked at [N] -> [heads, N, T].

    What a row lacks to one went to the sink.
    """
    gauges, found = patterns(model), {}

    def record(name: str, x: Tensor) -> Tensor:
        if name in gauges:
            found[gauges[name].layer] = of_asked(x, at)
        return x

    model.run(tokens, record, at=at, gauges=tuple(gauges))
    return torch.stack([found[layer][:, head] for layer, head in heads])
