"""Circuits within one, run together, give the logits of the ablated model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pytest_circuits.circuit.encoding import Batch
from pytest_circuits.circuit.interventions import run_circuits
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.view import View, cut_weights, keep_masks
from pytest_circuits.compile.family import Family, Member
from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.spec.ablations import Ablation, Given
from tests.circuit.random_models import VARIANTS, random_model, some_circuits, some_edges


def _members(nodes: Nodes, model: SparseModel) -> list[Member]:
    """A circuit, the empty one, and parts of it: with all weights, with few of them, with none."""
    rng = np.random.default_rng(0)
    found: list[Member] = [(nodes, None), (Nodes(()), None)]
    for share in (0.3, 0.6, 0.9):
        part = Nodes.of({h: [c for c in cs if rng.random() < share] for h, cs in nodes.channels})
        found += [(part, None), (part, some_edges(part, model, share=share, seed=1))]
    return [*found, (nodes, some_edges(nodes, model, share=0.5, seed=2))]


@pytest.mark.parametrize("ablation", [Ablation.MEAN, Ablation.ZERO])
@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_every_part_of_a_circuit_gives_the_logits_of_the_ablated_model(
    changes: dict[str, Any], ablation: Ablation
) -> None:
    model, reference = random_model(**changes)
    tokens, at = reference.tokens[:5, :11], torch.tensor([10, 0, 3, 7, 1])
    batch = Batch(tokens, at, torch.tensor([[1, 2], [3, 4], [5, 6], [0, 9], [2, 1]]))
    for nodes in some_circuits(model, reference)[::3]:
        members = _members(nodes, model)
        views = [View.circuit(*member) for member in members]
        logits = run_circuits(
            model,
            tokens,
            at=at,
            keep=keep_masks(views, model),
            fill=ablation.kind.fill(Given(reference)),
            cuts=cut_weights(views, model),
        )
        family = Family.of(model, nodes, ablation.kind.fill(Given(reference)), tokens)
        found = family.preferences(members, batch)
        torch.testing.assert_close(found, batch.preferences(logits), rtol=1e-5, atol=1e-5)
