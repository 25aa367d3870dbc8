"""Known-answer models on disk, with the specification that has no nodes yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.model.open import load_model
from pytest_circuits.model.reference import Reference
from pytest_circuits.model.reference_file import load_reference
from pytest_circuits.prune.plan import PrunePlan
from pytest_circuits.prune.request import Request
from pytest_circuits.prune.subject import Subject
from pytest_circuits.spec.load import load_spec
from tests.known_models import KnownAnswer

QUICK = PrunePlan(evaluation_pairs=32, rounds=1)


def request_for(path: Path) -> Request:
    """What a quick search for the circuit in a file is asked for, which takes its place."""
    return Request(
        specs=(str(path),),
        targets=(str(path),),
        model=None,
        state=None,
        device=None,
        method="attribution",
        start="all",
        steps=300,
        seed=0,
        seeds=1,
        sufficient_only=False,
        exhaust=False,
        rivals=False,
        certify=False,
        calibrate=False,
        edges=False,
        controls=False,
    )


@dataclass(frozen=True)
class Known:
    """One known-answer model, ready to be searched."""

    spec: Path
    nodes: Nodes
    subject: Subject
    reference: Reference


@pytest.fixture
def known(tmp_path: Path) -> Callable[..., Known]:
    """Write a known-answer model and prepare the search for its circuit."""

    def prepare(answer: KnownAnswer, plan: PrunePlan = QUICK) -> Known:
        model = load_model(answer.write(tmp_path / "model"))
        path = tmp_path / f"{answer.name}.circuit.yaml"
        path.write_text(answer.spec, encoding="utf-8")
        reference = load_reference(model)
        subject = Subject.of(load_spec(path).spec, model, reference, plan)
        return Known(path, Nodes.of(answer.nodes), subject, reference)

    return prepare
