"""A circuit as what is drawn of it, in plain values: its sites, nodes and what joins them."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_circuits.spec.problems import visible


@dataclass(frozen=True, slots=True)
class Row:
    """A site that holds nodes of the circuit."""

    site: str
    layer: int | None  # None: after the last layer
    kind: str  # what its nodes are: "residual", "query", ...


@dataclass(frozen=True, slots=True)
class Drawing:
    """The nodes of a circuit, in forward order, and what joins them."""

    nodes: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]  # weights
    stream: tuple[tuple[str, str], ...] = ()  # who writes what who reads in the residual stream
    weights: tuple[float, ...] = ()  # of the edges; empty: they are not known
    rows: tuple[Row, ...] = ()  # in forward order; empty: they are not known

    def __post_init__(self) -> None:
        if not {node for pair in (*self.edges, *self.stream) for node in pair} <= {*self.nodes}:
            raise ValueError("an edge of a drawing has an end that is none of its nodes")
        if len(self.weights) not in {0, len(self.edges)}:
            raise ValueError("a drawing has a weight for each of its edges, or for none")


def site_of(node: str) -> str:
    """The site that a node stands at: `0.mlp.post_act` of `0.mlp.post_act[31]`, with its place."""
    site, _, rest = node.rpartition("[")
    return site + rest.partition("]")[2] if site else node


def label_of(node: str) -> str:
    """What a node is called at its site: `31` of `0.mlp.post_act[31]`."""
    return visible(node.rpartition("[")[2].partition("]")[0])
