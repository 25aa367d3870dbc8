"""What is drawn of a circuit: read from the model that it is a circuit of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pytest_circuits.circuit.edges import Edges, live_edges
from pytest_circuits.circuit.nodes import Node, Nodes
from pytest_circuits.model.protocol import Kind, Model, Site, wires_of
from pytest_circuits.show.drawing import Drawing, Row

_DIGITS = 4  # of a weight that is drawn


def drawing_of(
    model: Model, nodes: Nodes, edges: Edges | None, *, most: int | None = None
) -> Drawing | None:
    """The circuit as a drawing; None where it has no nodes, or more than so many nodes or edges.

    edges: those that it lists; None: every weight between its nodes.
    """
    joined = live_edges(nodes, model, edges)
    if not nodes.count or (most is not None and max(nodes.count, joined.count) > most):
        return None
    sites, wires = model.sites, wires_of(model)
    placed = [(name, channel) for name in sites for channel in nodes.at(name)]
    return Drawing(
        nodes=tuple(map(_id, placed)),
        edges=tuple((_id((source, a)), _id((target, b))) for (source, target), (a, b) in joined),
        stream=tuple((_id(writer), _id(reader)) for writer, reader in _stream(placed, sites)),
        weights=tuple(_rounded(float(wires[ends].weight[b, a])) for ends, (a, b) in joined),
        rows=tuple(
            Row(name, site.layer, site.kind.value) for name, site in sites.items() if nodes.at(name)
        ),
    )


def _stream(placed: Sequence[Node], sites: Mapping[str, Site]) -> Iterator[tuple[Node, Node]]:
    """Channels of the residual stream that a sublayer writes to, and what reads them later."""
    for place, (writer, channel) in enumerate(placed):
        for name, other in placed[place + 1 :] if sites[writer].writes else ():
            reads = sites[name].kind is Kind.RESIDUAL and not sites[name].writes
            if reads and other == channel:
                yield (writer, channel), (name, other)


def _id(node: Node) -> str:
    return f"{node[0]}[{node[1]}]"


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
