"""The stages of a search in its notes: what each depends on, and its result as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch

import pytest_circuits
from pytest_circuits.circuit.edges import Edges
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.model.reference import Reference
from pytest_circuits.prune.controls import Control
from pytest_circuits.prune.notes import Notes
from pytest_circuits.prune.plan import PrunePlan, Start
from pytest_circuits.prune.subject import NotFoundError, Subject
from pytest_circuits.spec.types import edge_ends

_DECISIVE = {"circuit", "behavior", "ablation", "claims", "protocol"}  # of a specification


def circumstances(subject: Subject, reference: Reference, plan: PrunePlan) -> dict[str, Any]:
    """Everything that a search depends on to the last bit, as JSON."""
    device = subject.model.device
    return {
        "version": pytest_circuits.__version__,
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "model": subject.model.digest,
        "reference": reference.digest,
        "spec": subject.spec.model_dump(mode="json", by_alias=True, include=_DECISIVE),
        "plan": repr(plan),
        "start": subject.spec.nodes if plan.start is Start.SPEC else {},
    }


def circuits(note: Notes, work: Callable[[], Sequence[Nodes]]) -> list[Nodes]:
    """Circuits that are worked out once, or the NotFoundError that there are none."""

    def told() -> dict[str, Any]:
        try:
            return {"circuits": [dict(nodes.channels) for nodes in work()]}
        except NotFoundError as error:
            return {"error": str(error)}

    found = note.once(told)
    if "error" in found:
        raise NotFoundError(found["error"])
    return [Nodes.of(channels) for channels in found["circuits"]]


def with_edges(note: Notes, work: Callable[[], tuple[Nodes, Edges]]) -> tuple[Nodes, Edges]:
    """Nodes and edges that are worked out once."""

    def told() -> list[Any]:
        nodes, edges = work()
        return [dict(nodes.channels), edges.listed()]

    channels, listed = note.once(told)
    pairs = {edge_ends(key): [(i, j) for i, j in some] for key, some in listed.items()}
    return Nodes.of(channels), Edges.of(pairs)


def control(note: Notes, work: Callable[[], Control]) -> Control:
    """A control that is run once."""
    return Control(**note.once(lambda: asdict(work())))
