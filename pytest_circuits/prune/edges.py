"""Which of the weights between kept nodes a circuit needs."""

from __future__ import annotations

from pytest_circuits.circuit.edges import Edge, Edges, live_edges
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.prune.quality import Judge
from pytest_circuits.prune.refine import eliminate


def needed_edges(judge: Judge, nodes: Nodes) -> Edges:
    """The edges of a circuit that reach the bar without the others."""
    bar = judge.bar

    def spared(kept: list[Edge]) -> list[int]:
        parts = [Edges.gather([*kept[:i], *kept[i + 1 :]]) for i in range(len(kept))]
        alone = judge.alone([(nodes, part) for part in parts])
        good = [i for i, quality in enumerate(alone) if quality.reaches(bar)]
        return sorted(good, key=lambda i: (alone[i].use(bar), i))

    def reaches(kept: list[Edge]) -> bool:
        return judge.alone([(nodes, Edges.gather(kept))])[0].reaches(bar)

    kept = list(live_edges(nodes, judge.runner.model))
    for smaller in eliminate(kept, spared, reaches, least=0):
        kept = smaller
    return Edges.gather(kept)
