"""The pruner as the gate hands it to claims: the lab is loaded when one of them asks."""

from __future__ import annotations

from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.model.protocol import Model
from pytest_circuits.model.reference import Reference
from pytest_circuits.spec.types import Spec


def pruner(spec: Spec, model: Model, reference: Reference, seeds: int) -> tuple[Nodes, ...]:
    """The nodes that each of so many searches finds; no nodes where one finds no circuit."""
    from pytest_circuits.prune.search import reprune  # noqa: PLC0415  (the lab)

    return reprune(spec, model, reference, seeds)
