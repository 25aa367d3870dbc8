"""What is drawn of a circuit: read from the model that it is a circuit of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from pytest_circuits.circuit.attention import kept_heads, shows_attention, whole_attention
from pytest_circuits.circuit.edges import Edges, live_edges
from pytest_circuits.circuit.nodes import Node, Nodes, node_id
from pytest_circuits.model.protocol import Kind, Model, Site, wires_of
from pytest_circuits.prompts.space import Pair
from pytest_circuits.show.drawing import Drawing, Row
from pytest_circuits.show.heat import Attends, Carried, Heat

_DIGITS = 4  # of a figure that is drawn
_MOST_TOKENS = 80  # of both prompts, side by side
_MOST_CELLS = 3000  # of a heat map
_MOST_HEADS = 12  # whose attention is drawn


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


@torch.inference_mode()
def heat_of(model: Model, nodes: Nodes, pair: Pair) -> Heat | None:
    """What the nodes carry in the whole model at the prompts of a pair.

    None where it is too much, or where some of it is no number.
    A node of several channels carries their length. With it what the kept heads attend to from the
    last token, as far as the model shows it.
    """
    texts = [model.encode(prompt.text) for prompt in (pair.first, pair.second)]
    tokens = sum(map(len, texts))
    if not nodes.count or tokens > _MOST_TOKENS or nodes.count * tokens > _MOST_CELLS:
        return None
    seen = [_carried(model, nodes, each) for each in texts]
    found = Heat(
        tokens=tuple(tuple(map(model.decode_token, each)) for each in texts),
        rows=tuple(Carried(node, tuple(each[node] for each in seen)) for node in reversed(seen[0])),
        heads=tuple(_attends(model, nodes, texts)),
    )
    return found if found.finite else None


def _attends(model: Model, nodes: Nodes, texts: Sequence[list[int]]) -> Iterator[Attends]:
    """What the first kept heads attend to from the last token of each text."""
    heads = kept_heads(nodes, model)[:_MOST_HEADS]
    if not heads or not shows_attention(model):
        return
    found = [
        whole_attention(
            model,
            torch.tensor([tokens], device=model.device),
            torch.tensor([len(tokens) - 1], device=model.device),
            heads,
        )[:, 0].tolist()
        for tokens in texts
    ]
    for place, (layer, head) in enumerate(heads):
        weights = tuple(tuple(_rounded(w) for w in each[place]) for each in found)
        yield Attends(f"head {layer}.{head}", weights)


def _carried(model: Model, nodes: Nodes, tokens: list[int]) -> dict[str, tuple[float, ...]]:
    """By node, in forward order, what it carries at each token."""
    found: dict[str, tuple[float, ...]] = {}

    def record(name: str, x: Tensor) -> Tensor:  # [1, T, D]
        for channel in nodes.at(name):
            first = channel * model.sites[name].channels
            some = x[0, :, first : first + model.sites[name].channels]  # [T, channels]
            value = some[:, 0] if some.shape[1] == 1 else some.norm(dim=1)
            found[_id((name, channel))] = tuple(_rounded(float(v)) for v in value)
        return x

    model.visit(torch.tensor([tokens], device=model.device), record)
    return found


def _stream(placed: Sequence[Node], sites: Mapping[str, Site]) -> Iterator[tuple[Node, Node]]:
    """Channels of the residual stream that a sublayer writes to, and what reads them later."""
    for place, (writer, channel) in enumerate(placed):
        for name, other in placed[place + 1 :] if sites[writer].writes else ():
            reads = sites[name].kind is Kind.RESIDUAL and not sites[name].writes
            if reads and other == channel:
                yield (writer, channel), (name, other)


def _id(node: Node) -> str:
    return node_id(*node)


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
