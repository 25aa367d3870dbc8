"""A compiled circuit gives the logits of the ablated model, whatever the model is like."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pytest_circuits.circuit.encoding import Encoder
from pytest_circuits.circuit.interventions import run_circuits
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.view import View, cut_weights, keep_masks
from pytest_circuits.compile.compiled import compile_circuit
from pytest_circuits.model.reference_file import load_reference
from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.model.sparse.directory import load_sparse_model
from pytest_circuits.prompts.space import Pair, PromptSpace
from pytest_circuits.spec.ablations import Ablation, Given
from pytest_circuits.spec.load import load_spec
from tests.circuit.random_models import VARIANTS, random_model, some_circuits, some_edges
from tests.known_models import (
    BIAS_NODE,
    NOWHERE,
    QUOTE_PATH,
    WEAK_PATH,
    Circuit,
    merged,
    quote_spec,
    write_quote_copier,
)

FOLDED = [Ablation.MEAN, Ablation.ZERO]


@pytest.mark.parametrize("ablation", FOLDED)
@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_compiled_circuit_gives_the_logits_of_the_ablated_model(
    changes: dict[str, Any], ablation: Ablation
) -> None:
    model, reference = random_model(**changes)
    fill = ablation.kind.fill(Given(reference))
    tokens, at = reference.tokens[:5, :11], torch.tensor([10, 0, 3, 7, 1])
    circuits = some_circuits(model, reference)
    keep = keep_masks([View.circuit(nodes) for nodes in circuits], model)
    expected = run_circuits(model, tokens, at=None, keep=keep, fill=fill)
    compiled = [compile_circuit(model, nodes, None, fill) for nodes in circuits]
    everywhere = torch.stack([circuit.logits(tokens) for circuit in compiled])
    torch.testing.assert_close(everywhere, expected, rtol=1e-5, atol=1e-5)
    at_one = torch.stack([circuit.logits(tokens, at=at) for circuit in compiled])
    torch.testing.assert_close(at_one, expected[:, torch.arange(5), at], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("ablation", FOLDED)
@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_compiled_circuit_of_some_edges_gives_the_logits_of_the_ablated_model(
    changes: dict[str, Any], ablation: Ablation
) -> None:
    model, reference = random_model(**changes)
    circuits = [
        (nodes, some_edges(nodes, model, share=(0.3, 0.9, 0.0)[seed % 3], seed=seed))
        for seed, nodes in enumerate(some_circuits(model, reference)[1:])
    ]
    views = [View.circuit(nodes, edges) for nodes, edges in circuits]
    tokens, fill = reference.tokens[:3, :11], ablation.kind.fill(Given(reference))
    expected = run_circuits(
        model,
        tokens,
        at=None,
        keep=keep_masks(views, model),
        fill=fill,
        cuts=cut_weights(views, model),
    )
    found = [compile_circuit(model, nodes, edges, fill).logits(tokens) for nodes, edges in circuits]
    torch.testing.assert_close(torch.stack(found), expected, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def copier(tmp_path_factory: pytest.TempPathFactory) -> SparseModel:
    return load_sparse_model(write_quote_copier(tmp_path_factory.mktemp("model") / "copier"))


def _pairs(model: SparseModel) -> tuple[Pair, ...]:
    path = model.path.parent / "quote.circuit.yaml"
    path.write_text(quote_spec(QUOTE_PATH, model="copier"))
    return PromptSpace(load_spec(path).spec.behavior).sample(20, seed=3)


@pytest.mark.parametrize("ablation", FOLDED)
@pytest.mark.parametrize("circuit", [QUOTE_PATH, WEAK_PATH, merged(QUOTE_PATH, BIAS_NODE)])
def test_the_known_circuit_prefers_what_the_ablated_model_prefers(
    copier: SparseModel, circuit: Circuit, ablation: Ablation
) -> None:
    nodes, reference, pairs = Nodes.of(circuit), load_reference(copier), _pairs(copier)
    margins = Runner(copier, reference, ablation).margins(pairs, View.circuit(nodes))
    prompts = [prompt for pair in pairs for prompt in (pair.first, pair.second)]
    batch = Encoder(copier).batch(prompts, rows=len(prompts))
    fill = ablation.kind.fill(Given(reference))
    compiled = compile_circuit(copier, nodes, None, fill)
    answers = compiled.preferences(batch.tokens, batch.last, batch.choices)
    found = (answers[:, 0] - answers[:, 1]).view(-1, 2).numpy()
    np.testing.assert_allclose(found, margins, atol=1e-5)


def test_the_known_head_attends_to_the_opening_quote(copier: SparseModel) -> None:
    reference, prompt = load_reference(copier), _pairs(copier)[0].first
    compiled = compile_circuit(copier, Nodes.of(QUOTE_PATH), None, reference.mean)
    tokens = copier.encode(prompt.text)
    attention = compiled.attention(torch.tensor([tokens]))
    assert set(attention) == {("0.attn", 0)}
    weights = attention["0.attn", 0][0, -1]
    assert '"' in copier.decode_token(tokens[int(weights.argmax())])
    assert float(weights.max()) > 0.9


def test_writes_that_nothing_reads_are_left_out(copier: SparseModel) -> None:
    unread = merged(QUOTE_PATH, {"1.mlp.post_act": [0], "1.mlp.resid_delta": [NOWHERE]})
    compiled = compile_circuit(copier, Nodes.of(unread), None, load_reference(copier).mean)
    assert [step.name for step in compiled.steps if step.sublayer] == ["0.attn"]
