"""Circuits beside the whole model, and parts of the rest, on a model whose circuit is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pytest_circuits.circuit.edges import live_edges
from pytest_circuits.circuit.inside import look_inside
from pytest_circuits.circuit.nodes import Nodes, all_nodes
from pytest_circuits.circuit.rest import Rest, part_gradients
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.side_by_side import Seen, run_beside
from pytest_circuits.circuit.view import WHOLE, View, cut_weights, keep_masks
from pytest_circuits.model.reference_file import load_reference
from pytest_circuits.model.sparse.directory import load_sparse_model
from pytest_circuits.prompts.space import Pair, PromptSpace
from pytest_circuits.spec.ablations import Ablation
from pytest_circuits.spec.load import parse_spec
from tests.known_models import D_HEAD, QUOTE_PATH, TYPE, quote_spec, write_quote_copier

NODES = Nodes.of(QUOTE_PATH)


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    model = load_sparse_model(write_quote_copier(tmp_path_factory.mktemp("model")))
    return Runner(model, load_reference(model), Ablation.MEAN)


@pytest.fixture(scope="module")
def pairs(runner: Runner) -> tuple[Pair, ...]:
    spec = parse_spec(quote_spec(QUOTE_PATH), path=runner.model.path / "q.circuit.yaml").spec
    return PromptSpace(spec.behavior).sample(6, seed=2)


@torch.inference_mode()
def beside(
    runner: Runner, pairs: tuple[Pair, ...], *, taken: Nodes, frozen: bool
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.float64]], list[Seen]]:
    """Margins [2, n, 2] of the whole model and the circuit, and what was seen, by batch."""
    model, views = runner.model, [WHOLE, View.circuit(NODES)]
    given = keep_masks([View.circuit(Nodes.of({})), View.circuit(taken)], model)
    margins, seen = np.empty((2, 2 * len(pairs))), []
    for indexes, batch, fill in runner.batches(pairs):
        logits, found = run_beside(
            model,
            batch.tokens,
            at=batch.last,
            keep=keep_masks(views, model),
            fill=fill,
            cuts={},
            taken=given,
            frozen=[False, frozen],
            record=NODES,
        )
        chosen = batch.preferences(logits).double().numpy()
        margins[:, indexes] = chosen[..., 0] - chosen[..., 1]
        seen.append(found)
    return margins.reshape(2, len(pairs), 2), seen


def test_beside_each_other_both_score_as_alone(runner: Runner, pairs: tuple[Pair, ...]) -> None:
    margins, seen = beside(runner, pairs, taken=Nodes.of({}), frozen=False)

    alone = [runner.margins(pairs, view) for view in (WHOLE, View.circuit(NODES))]
    np.testing.assert_allclose(margins, np.stack(alone), atol=1e-4)
    for found in seen:
        assert sorted(found.nodes) == sorted(NODES.shape)
        weights = found.weights[0][:, :, 0].sum(-1)
        torch.testing.assert_close(weights, torch.ones_like(weights))
        assert found.weights[0].shape[2] == runner.model.sites["0.attn.v"].width // D_HEAD


def test_with_all_values_taken_a_circuit_scores_as_the_whole_model(
    runner: Runner, pairs: tuple[Pair, ...]
) -> None:
    margins, _ = beside(runner, pairs, taken=all_nodes(runner.model), frozen=False)

    np.testing.assert_array_equal(margins[0], margins[1])


def test_frozen_norms_scale_the_readout_of_the_circuit(
    runner: Runner, pairs: tuple[Pair, ...]
) -> None:
    free, _ = beside(runner, pairs, taken=Nodes.of({}), frozen=False)
    frozen, _ = beside(runner, pairs, taken=Nodes.of({}), frozen=True)

    np.testing.assert_array_equal(free[0], frozen[0])
    assert (np.abs(frozen[1]) < np.abs(free[1])).all(), "the rest is gone, and the norm grew"
    assert np.array_equal(runner.margins(pairs, WHOLE), runner.margins(pairs, WHOLE))


@pytest.mark.parametrize("ablation", [Ablation.MEAN, Ablation.ZERO])
def test_what_a_node_carries_counts_from_the_value_that_ablation_gives_it(
    runner: Runner, pairs: tuple[Pair, ...], ablation: Ablation
) -> None:
    """The query is constant: it carries all or nothing, and its variance has no say in that."""
    query, type_ = Nodes.of({"0.attn.q": [0]}), {"0.attn.k": [0], "0.attn.act_in": [TYPE]}
    under = runner.under(ablation)

    def carried(circuit: Nodes, name: str) -> float:
        alike = look_inside(under, View.circuit(circuit), pairs).correlations
        return float(dict(zip(circuit, alike, strict=True))[name, 0])

    assert carried(NODES, "0.attn.q") == pytest.approx(1, abs=1e-3)
    assert carried(NODES, "0.attn.k") == pytest.approx(1, abs=1e-3)
    assert carried(query, "0.attn.q") == pytest.approx(1, abs=1e-3)
    assert carried(Nodes.of({"0.attn.k": [0]}), "0.attn.k") < 0.1
    assert carried(Nodes.of(type_), "0.attn.k") < 0.1, "it is not what its key reads"


def test_the_whole_rest_ablated_is_the_circuit_alone_edges_and_all(
    runner: Runner, pairs: tuple[Pair, ...]
) -> None:
    true = live_edges(NODES, runner.model)
    some = type(true).of({ends: [pair] for ends, pair in list(true)[:2]})
    rest = Rest.of(NODES, some, runner.model)
    everything = np.ones(rest.size, dtype=np.bool_)

    found = runner.margins(pairs, rest.without(everything))

    assert len(rest.edges) == true.count - some.count
    alone = runner.margins(pairs, View.circuit(NODES, some))
    np.testing.assert_allclose(found, alone, atol=1e-4)
    assert cut_weights([View.circuit(NODES, true)], runner.model) == {}
    nothing = runner.margins(pairs, rest.without(~everything))
    np.testing.assert_array_equal(nothing, runner.margins(pairs, WHOLE))


def test_gradients_of_parts_are_those_of_finite_differences(
    runner: Runner, pairs: tuple[Pair, ...]
) -> None:
    model = runner.model
    rest = Rest.of(NODES, type(live_edges(NODES, model)).of({}), model)
    off = np.zeros(rest.size, dtype=np.bool_)
    ((_, batch, fill),) = [*runner.batches(pairs[:1])][:1]

    (slope,) = part_gradients(model, batch, fill, rest, [off])

    edge = len(rest.nodes)  # the first weight that is not listed
    changed = off.copy()
    changed[edge] = True
    loss = [
        np.logaddexp(0, -runner.margins(pairs[:1], rest.without(part))).sum()
        for part in (off, changed)
    ]
    assert np.sign(slope[edge]) == np.sign(loss[1] - loss[0])
    assert np.abs(slope).max() > 0
