"""Random circuits of the same shape: what any set of nodes of this size would do."""

from __future__ import annotations

import numpy as np

from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.model.reference import Reference


def random_circuits(nodes: Nodes, reference: Reference, *, count: int, seed: int) -> list[Nodes]:
    """`count` circuits with as many nodes at each hook point as `nodes` has.

    The channels are drawn without replacement among those that vary over the reference text (a
    dead channel would make a control too easy to beat), and among all where too few vary.
    """
    rng = np.random.Generator(np.random.Philox(key=seed))
    pools = {}
    for hook, needed in nodes.shape.items():
        std = reference.std[hook].cpu().numpy()
        alive = np.flatnonzero(std > 0)
        pools[hook] = alive if len(alive) >= needed else np.arange(len(std))
    return [
        Nodes.of(
            {
                hook: [int(i) for i in rng.choice(pools[hook], size=needed, replace=False)]
                for hook, needed in nodes.shape.items()
            }
        )
        for _ in range(count)
    ]
