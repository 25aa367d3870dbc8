"""The edges of a circuit: weights that join two of its nodes.

Gao et al. 2025, section 2: an edge is a nonzero weight between two nodes of one sublayer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pytest_circuits.circuit.nodes import Nodes, grouped
from pytest_circuits.model.protocol import Ends, Model, wires_of
from pytest_circuits.spec.types import Spec, edge_ends, edge_key

Pair = tuple[int, int]  # source channel, target channel
Edge = tuple[Ends, Pair]


@dataclass(frozen=True, slots=True)
class Edges:
    """Pairs of channels by the hook points that they join, sorted; equal sets are equal values.

    A circuit that lists its edges claims that its nodes talk through these alone. So through any
    other weight between two of its nodes the target is given the source's reference value, what
    the ablation puts in place of an excluded node, and not zero: a weight that is left out becomes
    a constant, like a node that is left out, and the claim is about what varies, not about biases.

    Weights from a node into one outside the circuit are left alone: their target is ablated
    anyway, and until then it only competes in AbsTopK. A weight that is zero in the model carries
    nothing, listed or not.
    """

    pairs: tuple[tuple[Ends, tuple[Pair, ...]], ...]

    @classmethod
    def of(cls, pairs: Mapping[Ends, Iterable[Pair]]) -> Edges:
        """Edges from `{(source, target): pairs}` by hook points; without empty ones."""
        listed = {ends: tuple(sorted(set(pairs[ends]))) for ends in sorted(pairs)}
        return cls(tuple((ends, found) for ends, found in listed.items() if found))

    @classmethod
    def gather(cls, edges: Iterable[Edge]) -> Edges:
        """Edges from hook points, source first, with a pair of channels each."""
        return cls.of(grouped(edges))

    @property
    def count(self) -> int:
        return sum(len(pairs) for _, pairs in self.pairs)

    def between(self, ends: Ends) -> tuple[Pair, ...]:
        return dict(self.pairs).get(ends, ())

    def listed(self) -> dict[str, tuple[Pair, ...]]:
        return {edge_key(*ends): pairs for ends, pairs in self.pairs}

    def __iter__(self) -> Iterator[Edge]:
        for ends, pairs in self.pairs:
            for pair in pairs:
                yield ends, pair


def edges_of(spec: Spec) -> Edges | None:
    """The edges that a specification lists; None: all weights between its nodes."""
    if spec.edges is None:
        return None
    return Edges.of({edge_ends(key): pairs for key, pairs in spec.edges.items()})


def live_edges(nodes: Nodes, model: Model, edges: Edges | None = None) -> Edges:
    """The nonzero weights between kept nodes, of those in `edges` if given."""
    found: dict[Ends, list[Pair]] = {}
    for ends, wire in wires_of(model).items():
        sources, targets = (nodes.at(hook) for hook in ends)
        if sources and targets:
            alive = wire.weight[list(targets)][:, list(sources)].nonzero().tolist()
            pairs = [(sources[i], targets[j]) for j, i in alive]
            wanted = set(pairs if edges is None else edges.between(ends))
            found[ends] = [pair for pair in pairs if pair in wanted]
    return Edges.of(found)


def count_edges(nodes: Nodes, model: Model, edges: Edges | None = None) -> int:
    """How many nonzero weights lie between kept nodes, of those in `edges` if given."""
    return live_edges(nodes, model, edges).count
