"""Views, ablations and the runner, on a model whose circuit is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pytest_circuits.circuit.edges import count_edges, live_edges
from pytest_circuits.circuit.interventions import run_circuits
from pytest_circuits.circuit.nodes import Nodes, all_nodes
from pytest_circuits.circuit.random_circuits import random_circuits
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.view import WHOLE, View, keep_masks
from pytest_circuits.errors import SpecError
from pytest_circuits.model.reference_file import load_reference
from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.model.sparse.directory import load_sparse_model
from pytest_circuits.prompts.space import Pair, Prompt, PromptSpace
from pytest_circuits.spec.ablations import Ablation, Given
from pytest_circuits.spec.load import load_spec
from tests.known_models import QUOTE_PATH, quote_spec, write_quote_copier


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SparseModel:
    return load_sparse_model(write_quote_copier(tmp_path_factory.mktemp("model") / "copier"))


@pytest.fixture(scope="module")
def pairs(model: SparseModel) -> tuple[Pair, ...]:
    path = model.path.parent / "quote.circuit.yaml"
    path.write_text(quote_spec(QUOTE_PATH, model="copier"))
    return PromptSpace(load_spec(path).spec.behavior).sample(40, seed=3)


def _runner(model: SparseModel, ablation: Ablation = Ablation.MEAN) -> Runner:
    return Runner(model, load_reference(model), ablation)


def test_the_whole_model_and_the_circuit_of_all_nodes_score_alike(
    model: SparseModel, pairs: tuple[Pair, ...]
) -> None:
    runner, everything = _runner(model), all_nodes(model)
    whole = runner.margins(pairs, WHOLE)
    assert np.array_equal(runner.margins(pairs, View.circuit(everything)), whole)
    assert np.array_equal(runner.margins(pairs, View.without(Nodes(()))), whole)


def test_what_is_ablated_everywhere_leaves_nothing_of_the_cue(
    model: SparseModel, pairs: tuple[Pair, ...]
) -> None:
    runner = _runner(model)
    nothing = runner.margins(pairs, View.circuit(Nodes(())))
    assert np.allclose(nothing.sum(axis=1), 0, atol=1e-5)  # both members of a pair look the same


def test_the_known_circuit_does_the_task_alone_and_is_missed(
    model: SparseModel, pairs: tuple[Pair, ...]
) -> None:
    runner, nodes = _runner(model), Nodes.of(QUOTE_PATH)
    assert (runner.margins(pairs, WHOLE) > 0).all()
    assert (runner.margins(pairs, View.circuit(nodes)) > 0).all()
    whole, rest = runner.margins(pairs, WHOLE).mean(), runner.margins(pairs, View.without(nodes))
    assert rest.mean() < whole / 2


def test_many_circuits_in_one_forward_score_as_each_alone(
    model: SparseModel, pairs: tuple[Pair, ...]
) -> None:
    runner, nodes = _runner(model), Nodes.of(QUOTE_PATH)
    controls = random_circuits(nodes, model, runner.reference, count=9, seed=1)
    views = [View.circuit(nodes), *map(View.without, controls)]
    together = runner.margins_many(pairs, views)
    alone = np.stack([_runner(model).margins(pairs, view) for view in views])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_prompt_scores_the_same_whatever_it_runs_with(
    model: SparseModel, pairs: tuple[Pair, ...]
) -> None:
    view = View.circuit(Nodes.of(QUOTE_PATH))
    together = _runner(model).margins(pairs, view)
    one_by_one = np.concatenate([_runner(model).margins([pair], view) for pair in pairs])
    assert np.array_equal(together, one_by_one)
    assert np.array_equal(_runner(model).margins(pairs[::-1], view)[::-1], together)


def test_a_prompt_runs_once_per_view(model: SparseModel, pairs: tuple[Pair, ...]) -> None:
    runner = _runner(model)
    runner.margins(pairs, WHOLE)
    done = runner.forwards
    runner.margins(pairs[::2], WHOLE)
    assert runner.forwards == done
    assert done == len({p for pair in pairs for p in (pair.first, pair.second)})


@pytest.mark.parametrize("ablation", list(Ablation))
def test_an_ablated_node_becomes_what_its_ablation_says(
    model: SparseModel, pairs: tuple[Pair, ...], ablation: Ablation
) -> None:
    reference = load_reference(model)
    hook, channel = "0.attn.resid_delta", QUOTE_PATH["0.attn.resid_delta"][0]
    picks = torch.zeros(4, dtype=torch.long)
    partner = {name: torch.full((4, 6, 1), 7.0) for name in model.sites}
    fill = ablation.kind.fill(Given(reference, picks, partner))
    expected = {
        Ablation.CONTRAST: torch.tensor(7.0),
        Ablation.MEAN: reference.mean[hook][channel],
        Ablation.ZERO: torch.tensor(0.0),
        Ablation.RESAMPLE: reference.bank[hook][0, channel],
    }[ablation]
    value = torch.broadcast_to(fill[hook], (1, 4, 6, model.sites[hook].width))[..., channel]
    assert torch.equal(value, expected.expand_as(value))
    margins = _runner(model, ablation).margins(pairs, View.without(Nodes.of(QUOTE_PATH)))
    assert np.isfinite(margins).all()


def test_logits_of_all_tokens_have_a_circuit_dimension(model: SparseModel) -> None:
    reference = load_reference(model)
    tokens = reference.tokens[:3, :5]
    views = [WHOLE, View.circuit(Nodes.of(QUOTE_PATH))]
    fill = Ablation.MEAN.kind.fill(Given(reference))
    logits = run_circuits(model, tokens, at=None, keep=keep_masks(views, model), fill=fill)
    assert logits.shape == (2, 3, 5, model.config.vocab_size)
    torch.testing.assert_close(logits[0], model.module(tokens), rtol=0, atol=1e-6)


def test_signals_are_the_activations_at_the_real_tokens(
    model: SparseModel, pairs: tuple[Pair, ...]
) -> None:
    nodes = Nodes.of({"0.attn.v": [0, 3], "final_resid": [2]})
    signals = _runner(model).signals(pairs[:3], nodes)
    recorded: dict[str, torch.Tensor] = {}

    def record(name: str, x: torch.Tensor) -> torch.Tensor:
        recorded[name] = x[0]
        return x

    expected = []
    for prompt in (member for pair in pairs[:3] for member in (pair.first, pair.second)):
        model.run(torch.tensor([model.encode(prompt.text)]), record)
        values, stream = recorded["0.attn.v"], recorded["final_resid"]
        expected.append(torch.stack([values[:, 0], values[:, 3], stream[:, 2]]))
    np.testing.assert_allclose(signals, torch.cat(expected, dim=1).detach(), atol=1e-5)


def test_controls_have_the_circuits_shape_and_depend_on_the_seed_alone(model: SparseModel) -> None:
    nodes, reference = Nodes.of(QUOTE_PATH), load_reference(model)
    controls = random_circuits(nodes, model, reference, count=20, seed=5)
    assert all(control.shape == nodes.shape for control in controls)
    assert controls == random_circuits(nodes, model, reference, count=20, seed=5)
    assert controls != random_circuits(nodes, model, reference, count=20, seed=6)
    assert len(set(controls)) > 1


def test_controls_are_drawn_among_the_nodes_that_vary(model: SparseModel) -> None:
    reference = load_reference(model)
    hook = "0.mlp.post_act"
    alive = set(np.flatnonzero(reference.std[hook].numpy() > 0))
    assert len(alive) < model.sites[hook].width, "the model has dead neurons"
    controls = random_circuits(Nodes.of({hook: [0]}), model, reference, count=50, seed=0)
    assert {c for control in controls for c in control.at(hook)} <= alive


def test_controls_avoid_nodes_where_enough_others_vary(model: SparseModel) -> None:
    reference, hooks = load_reference(model), ("0.mlp.post_act", "final_resid")
    alive = np.flatnonzero(reference.std[hooks[0]].numpy() > 0).tolist()
    wide = range(1, model.sites[hooks[1]].width)  # leaves no room beside it
    nodes = Nodes.of({hooks[0]: alive[:2], hooks[1]: wide})

    controls = random_circuits(nodes, model, reference, count=50, seed=0, avoid=nodes)

    assert {c for control in controls for c in control.at(hooks[0])} <= set(alive[2:])
    assert all(control.shape == nodes.shape for control in controls)
    assert {c for control in controls for c in control.at(hooks[1])} & set(wide)


def test_edges_are_the_nonzero_weights_between_kept_nodes(model: SparseModel) -> None:
    attn = model.module.layers()[0][0]
    channels = {"0.attn.act_in": [0, 1, 2], "0.attn.q": [0], "0.attn.k": [0], "0.attn.v": [0, 8]}
    expected = sum(
        int((linear.weight[out][:, [0, 1, 2]] != 0).sum())
        for linear, out in ((attn.q, [0]), (attn.k, [0]), (attn.v, [0, 8]))
    )
    assert expected > 0
    assert count_edges(Nodes.of(channels), model) == expected


def test_a_prompt_that_cannot_work_is_refused(model: SparseModel) -> None:
    runner = _runner(model)
    swap = Prompt("say", "'", '"')
    with pytest.raises(SpecError, match="not a single token"):
        runner.margins([Pair(Prompt("say", "two words", "'"), swap)], WHOLE)
    with pytest.raises(SpecError, match="tokens; the model takes"):
        runner.margins([Pair(Prompt("say " * 500, "'", '"'), swap)], WHOLE)


def test_nodes_are_values() -> None:
    nodes = Nodes.of({"b": [3, 1, 1], "a": [2], "c": []})
    assert nodes == Nodes.of({"a": [2], "b": [1, 3]})
    assert nodes.count == 3
    assert nodes.ids() == ["a[2]", "b[1]", "b[3]"]
    assert nodes.without("b", 1) == Nodes.of({"a": [2], "b": [3]})


def test_what_is_ablated_everywhere_by_contrast_is_the_partner(
    model: SparseModel, pairs: tuple[Pair, ...]
) -> None:
    whole = _runner(model).margins(pairs, WHOLE)
    runner = _runner(model, Ablation.CONTRAST)
    swapped = runner.margins(pairs, View.circuit(Nodes(())))
    np.testing.assert_allclose(swapped, -whole[:, ::-1], atol=1e-5)


def test_by_contrast_a_prompt_scores_the_same_whatever_it_runs_with(
    model: SparseModel, pairs: tuple[Pair, ...]
) -> None:
    view = View.circuit(Nodes.of(QUOTE_PATH))
    together = _runner(model, Ablation.CONTRAST).margins(pairs, view)
    alone = [_runner(model, Ablation.CONTRAST).margins([pair], view)[0] for pair in pairs]
    assert np.array_equal(together, np.stack(alone))


def test_without_its_circuit_by_contrast_the_model_prefers_the_foil(
    model: SparseModel, pairs: tuple[Pair, ...]
) -> None:
    runner, nodes = _runner(model, Ablation.CONTRAST), Nodes.of(QUOTE_PATH)
    assert (runner.margins(pairs, View.circuit(nodes)) > 0).all()
    assert (runner.margins(pairs, View.without(nodes)) < 0).all()


def test_edges_that_carry_the_partner_s_values_turn_the_preference(
    model: SparseModel, pairs: tuple[Pair, ...]
) -> None:
    cut = live_edges(Nodes.of(QUOTE_PATH), model)
    runner = _runner(model, Ablation.CONTRAST)
    assert (runner.margins(pairs, View.without(Nodes(()), cut)) < 0).all()


def test_ablations_of_one_model_share_the_runs_of_the_whole_one(
    model: SparseModel, pairs: tuple[Pair, ...]
) -> None:
    runner = _runner(model)
    runner.margins(pairs, WHOLE)
    done = runner.forwards
    other = runner.under(Ablation.CONTRAST)
    other.margins(pairs, WHOLE)
    assert other.forwards == runner.forwards == done
    assert other.under(Ablation.MEAN) is runner
