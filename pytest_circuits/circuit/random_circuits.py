"""Random circuits of the same shape, and circuits with one random node more.

The first are what a whole circuit has to outdo, the second what each of its nodes has to.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pytest_circuits.circuit.edges import Edges, live_edges
from pytest_circuits.circuit.nodes import Node, Nodes
from pytest_circuits.model.protocol import Kind, Model, sites_of, wires_of
from pytest_circuits.model.reference import Reference

NONE = Nodes.of({})


def random_circuits(
    nodes: Nodes,
    model: Model,
    reference: Reference,
    *,
    count: int,
    seed: int,
    avoid: Nodes = NONE,
) -> list[Nodes]:
    """`count` circuits with as many nodes at each hook point as `nodes` has.

    The channels are drawn without replacement among those that vary over the reference text (a
    dead channel would make a control too easy to beat), and among all where too few vary.
    avoid: nodes that are not drawn at hook points where enough others vary.
    """
    rng = np.random.Generator(np.random.Philox(key=seed))
    pools = {}
    for name, needed in nodes.shape.items():
        alive = varying(model, reference, name)
        outside = np.setdiff1d(alive, np.array(avoid.at(name), dtype=np.int64))
        every = np.arange(model.sites[name].width)
        pools[name] = next(x for x in (outside, alive, every) if len(x) >= needed)
    return [
        Nodes.of(
            {
                hook: [int(i) for i in rng.choice(pools[hook], size=needed, replace=False)]
                for hook, needed in nodes.shape.items()
            }
        )
        for _ in range(count)
    ]


def varying(model: Model, reference: Reference, name: str) -> NDArray[np.int64]:
    """The nodes of a site that vary over the reference text."""
    site = model.sites[name]
    moves = reference.std[name].cpu().numpy().reshape(site.width, site.channels) > 0
    return np.flatnonzero(moves.any(axis=1))


def random_additions(
    nodes: Nodes, model: Model, reference: Reference, *, count: int, rng: np.random.Generator
) -> dict[str, list[Node]]:
    """At most `count` nodes outside of the circuit, by the points of the sites that it uses.

    Among nodes that vary over the reference text, those that touch the circuit come first: a weight
    or a channel of the residual stream joins them to one of its nodes. What joins nothing changes
    nothing, and would be too easy to outdo.
    """
    near = _touching(nodes, model)
    found = {}
    for point in sorted({model.sites[name].point for name in nodes.shape}):
        pool = [
            (name, int(node))
            for name, site in model.sites.items()
            if site.point == point
            for node in varying(model, reference, name)
            if node not in nodes.at(name)
        ]
        order = [pool[i] for i in rng.permutation(len(pool))]
        found[point] = sorted(order, key=lambda node: node not in near)[:count]
    return found


def with_node(
    nodes: Nodes, edges: Edges | None, node: Node, model: Model
) -> tuple[Nodes, Edges | None]:
    """A circuit with one node more, and with all of its weights where edges are listed."""
    hook, channel = node
    more = Nodes.of({**dict(nodes.channels), hook: [*nodes.at(hook), channel]})
    if edges is None:
        return more, None
    new = [
        (ends, pair)
        for ends, pair in live_edges(more, model)
        if node in ((ends[0], pair[0]), (ends[1], pair[1]))
    ]
    return more, Edges.gather([*edges, *new])


def _touching(nodes: Nodes, model: Model) -> set[Node]:
    near: set[Node] = set()
    for (source, target), wire in wires_of(model).items():
        into, out_of = list(nodes.at(target)), list(nodes.at(source))
        near |= {(target, i) for i in wire.weight[:, out_of].any(1).nonzero().flatten().tolist()}
        near |= {(source, i) for i in wire.weight[into].any(0).nonzero().flatten().tolist()}
    stream = sites_of(model, Kind.RESIDUAL)
    channels = {channel for name, channel in nodes if name in stream}
    near |= {(name, c) for name, site in stream.items() for c in channels if c < site.width}
    return near - set(nodes)
