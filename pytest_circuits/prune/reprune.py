"""A circuit pruned anew, once a seed: what a search finds by itself, and how much by chance."""

from __future__ import annotations

from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.model.protocol import Model
from pytest_circuits.model.reference import Reference
from pytest_circuits.prune.job import find_circuits
from pytest_circuits.prune.plan import PrunePlan
from pytest_circuits.prune.subject import NotFoundError, Subject
from pytest_circuits.spec.types import Spec


def reprune(spec: Spec, model: Model, reference: Reference, seeds: int) -> tuple[Nodes, ...]:
    """The nodes that each of so many searches finds; no nodes where one finds no circuit."""
    return tuple(_found(spec, model, reference, seed) for seed in range(seeds))


def _found(spec: Spec, model: Model, reference: Reference, seed: int) -> Nodes:
    plan = PrunePlan(seed=seed, rounds=0, edges=False, controls=False)
    try:
        (found,) = find_circuits([Subject.of(spec, model, reference, plan)], reference, plan)
    except NotFoundError:
        return Nodes.of({})
    return Nodes.of({}) if isinstance(found, NotFoundError) else found.nodes
