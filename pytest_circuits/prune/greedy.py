"""Greedy removal from the outputs back to the inputs: a baseline to beat.

In the manner of ACDC (Conmy et al. 2023): what can be ablated without the loss of the behavior is
ablated for good, node by node. Here on nodes instead of edges, against this project's bar instead
of a threshold on the KL divergence, and in blocks that are halved where they cannot go as a whole,
because the nodes are many and most of them can.
"""

from __future__ import annotations

from collections.abc import Iterator

from pytest_circuits.circuit.nodes import Node, Nodes, all_nodes
from pytest_circuits.prune.quality import Judge


def greedy(
    judge: Judge, *, forbidden: frozenset[Node] = frozenset()
) -> Iterator[tuple[str, Nodes]]:
    """Remove nodes, the last hook point first; yields it and the circuit after each block."""
    model = judge.runner.model
    kept = [node for node in all_nodes(model) if node not in forbidden]
    for hook in reversed(list(model.sites)):
        blocks = [[node for node in kept if node[0] == hook]]
        while blocks:
            block = blocks.pop()
            rest = _without(kept, block)
            if block and judge.reaches((Nodes.gather(rest), None)):
                kept = rest
            elif len(block) > 1:
                half = len(block) // 2
                blocks += [block[half:], block[:half]]
            yield hook, Nodes.gather(kept)


def _without(kept: list[Node], block: list[Node]) -> list[Node]:
    gone = set(block)
    return [node for node in kept if node not in gone]
