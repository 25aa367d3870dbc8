"""Circuits with one random node more: what the worst-placed node of a circuit has to outdo."""

from __future__ import annotations

import numpy as np

from pytest_circuits.circuit.edges import Edges, live_edges
from pytest_circuits.circuit.nodes import Node, Nodes
from pytest_circuits.model.protocol import Model
from pytest_circuits.model.reference import Reference


def kind_of(hook: str) -> str:
    """What a hook point is in any layer: `post_act` of `0.mlp.post_act`."""
    return hook.rpartition(".")[2]


def random_additions(
    nodes: Nodes, model: Model, reference: Reference, *, count: int, rng: np.random.Generator
) -> dict[str, list[Node]]:
    """At most `count` nodes outside of the circuit, for each kind of hook point that it uses.

    Among nodes that vary over the reference text, those that touch the circuit come first: a weight
    or a channel of the residual stream joins them to one of its nodes. What joins nothing changes
    nothing, and would be too easy to outdo.
    """
    near = _touching(nodes, model)
    kinds = sorted({kind_of(hook) for hook in nodes.shape})
    found = {}
    for kind in kinds:
        pool = [
            (hook, channel)
            for hook in model.hook_points
            if kind_of(hook) == kind
            for channel in np.flatnonzero(reference.std[hook].cpu().numpy() > 0).tolist()
            if channel not in nodes.at(hook)
        ]
        order = [pool[i] for i in rng.permutation(len(pool))]
        found[kind] = sorted(order, key=lambda node: node not in near)[:count]
    return found


def with_node(
    nodes: Nodes, edges: Edges | None, node: Node, model: Model
) -> tuple[Nodes, Edges | None]:
    """A circuit with one node more, and with all of its weights where edges are listed."""
    hook, channel = node
    more = Nodes.of({**dict(nodes.channels), hook: [*nodes.at(hook), channel]})
    if edges is None:
        return more, None
    pairs = {ends: list(found) for ends, found in edges.pairs}
    for ends, pair in live_edges(more, model):
        if (ends[0], pair[0]) == node or (ends[1], pair[1]) == node:
            pairs.setdefault(ends, []).append(pair)
    return more, Edges.of(pairs)


def _touching(nodes: Nodes, model: Model) -> set[Node]:
    near: set[Node] = set()
    for (source, target), weight in model.edge_matrices().items():
        into, out_of = list(nodes.at(target)), list(nodes.at(source))
        near |= {(target, i) for i in weight[:, out_of].any(1).nonzero().flatten().tolist()}
        near |= {(source, i) for i in weight[into].any(0).nonzero().flatten().tolist()}
    residual = {"act_in", "resid_delta", "final_resid"}
    channels = {channel for hook, channel in nodes if kind_of(hook) in residual}
    near |= {
        (hook, channel)
        for hook, width in model.hook_points.items()
        if kind_of(hook) in residual
        for channel in channels
        if channel < width
    }
    return near - set(nodes)
