"""The edges of a circuit: nonzero weights that join two of its nodes.

Gao et al. 2025, section 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_circuits.circuit.nodes import Nodes
    from pytest_circuits.model import Model


def count_edges(nodes: Nodes, model: Model) -> int:
    """Number of nonzero weights between kept nodes of one sublayer."""
    total = 0
    for (source, target), weight in model.edge_matrices().items():
        sources, targets = nodes.at(source), nodes.at(target)
        if sources and targets:
            total += int(weight[list(targets)][:, list(sources)].count_nonzero())
    return total
