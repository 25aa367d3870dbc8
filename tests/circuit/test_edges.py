"""Circuits that list their edges: through any other weight a target sees the source's constant."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pytest_circuits.circuit.check import check_circuit
from pytest_circuits.circuit.edges import Edges, count_edges, edges_of, live_edges
from pytest_circuits.circuit.interventions import Cut, cut_edges, run_circuits
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.view import WHOLE, View, cut_weights, keep_masks
from pytest_circuits.model.protocol import joined
from pytest_circuits.model.reference_file import load_reference
from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.model.sparse.config import ModelConfig
from pytest_circuits.model.sparse.directory import load_sparse_model
from pytest_circuits.model.sparse.gpt import SparseGPT
from pytest_circuits.model.tokenizer import Tokenizer, train_tokenizer
from pytest_circuits.prompts.space import Pair, PromptSpace
from pytest_circuits.spec.ablations import Ablation, Given
from pytest_circuits.spec.load import load_spec, parse_spec
from tests.known_models import (
    D_HEAD,
    DETECT,
    DETECT_AGAIN,
    OUT,
    QUOTE_PATH,
    TYPE,
    TYPE_AGAIN,
    WEAK_OUT,
    WEAK_PATH,
    merged,
    quote_spec,
    write_quote_copier,
)

UP, DOWN = ("0.mlp.act_in", "0.mlp.post_act"), ("0.mlp.post_act", "0.mlp.resid_delta")
KEY, VALUE = ("0.attn.act_in", "0.attn.k"), ("0.attn.act_in", "0.attn.v")
WRITE = ("0.attn.v", "0.attn.resid_delta")
QUOTE_EDGES = Edges.of({KEY: [(DETECT, 0)], VALUE: [(TYPE, 0)], WRITE: [(0, OUT)]})
WEAK_EDGES = Edges.of(
    {
        KEY: [(DETECT_AGAIN, D_HEAD)],
        VALUE: [(TYPE_AGAIN, D_HEAD)],
        WRITE: [(D_HEAD, WEAK_OUT)],
    }
)

FROM_ACT_IN = ", ".join(f"0.attn.act_in -> 0.attn.{point}" for point in "qkv")
INTO_WRITE = "0.attn.v -> 0.attn.resid_delta"
OF_MLP = "0.mlp.act_in -> 0.mlp.post_act, 0.mlp.post_act -> 0.mlp.resid_delta"


def _tiny(tokenizer: Tokenizer) -> SparseModel:
    """One head with a sink and two neurons over two channels, without AbsTopK."""
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size,
        n_layer=1,
        d_model=2,
        d_head=2,
        d_mlp=2,
        max_tokens=8,
        activation="relu",
        activation_share=1.0,
        sinks=True,
        bigram=False,
    )
    module = SparseGPT(config)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        attn, mlp = module.layers()[0]
        mlp.up.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))  # [to, from]
        mlp.down.weight.copy_(torch.tensor([[1.0, 10.0], [0.0, 100.0]]))
        attn.out.weight.copy_(torch.tensor([[1.0, 10.0], [0.0, 100.0]]))
    module.requires_grad_(requires_grad=False).eval()
    return SparseModel(Path(), config, tokenizer, module, "none", torch.device("cpu"))


@pytest.fixture(scope="module")
def tiny() -> SparseModel:
    return _tiny(train_tokenizer(["a b c"], vocab_size=260, special=()))


def _held(
    model: SparseModel,
    point: str,
    *,
    given: Mapping[str, Tensor],
    cuts: Mapping[tuple[str, str], Cut],
    fill: Mapping[str, Tensor],
) -> Tensor:
    """What one hook point is given, [N, T, D], while others hold `given`."""
    found: dict[str, Tensor] = {}

    def hook(name: str, x: Tensor) -> Tensor:
        found[name] = x
        return given[name].expand_as(x).contiguous() if name in given else x

    joined(model, torch.zeros(2, 3, dtype=torch.long), hook, cut_edges(cuts, fill, None))
    return found[point]


MLP_NODES = Nodes.of({"0.mlp.act_in": [0, 1], "0.mlp.post_act": [0, 1]})


@pytest.mark.parametrize(
    ("edges", "neurons"),
    [
        ([(0, 0), (1, 0), (0, 1), (1, 1)], [3 + 2 * 5, 3 * 3 + 4 * 5]),
        ([(0, 0), (1, 1)], [3 + 2 * 7, 3 * 6 + 4 * 5]),
        ([(1, 0)], [6 + 2 * 5, 3 * 6 + 4 * 7]),
        ([], [6 + 2 * 7, 3 * 6 + 4 * 7]),
    ],
)
def test_through_a_weight_that_is_not_listed_a_target_sees_the_sources_constant(
    tiny: SparseModel, edges: list[tuple[int, int]], neurons: list[int]
) -> None:
    cuts = cut_weights([View.circuit(MLP_NODES, Edges.of({UP: edges}))], tiny)
    given = {"0.mlp.act_in": torch.tensor([3.0, 5.0])}
    held = _held(
        tiny,
        "0.mlp.post_act",
        given=given,
        cuts=cuts,
        fill={"0.mlp.act_in": torch.tensor([6.0, 7.0])},
    )
    assert torch.equal(held[0, 0], torch.tensor(neurons).float())


def test_weights_into_nodes_outside_the_circuit_are_left_alone(tiny: SparseModel) -> None:
    nodes = Nodes.of({"0.mlp.act_in": [0, 1], "0.mlp.post_act": [0]})
    cuts = cut_weights([View.circuit(nodes, Edges.of({UP: [(0, 0)]}))], tiny)
    given = {"0.mlp.act_in": torch.tensor([3.0, 5.0])}
    fill = {"0.mlp.act_in": torch.tensor([6.0, 7.0])}
    held = _held(tiny, "0.mlp.post_act", given=given, cuts=cuts, fill=fill)
    assert held[0, 0].tolist() == [3 + 2 * 7, 3 * 3 + 4 * 5]


def test_a_constant_value_is_seen_through_the_attention_that_the_sink_leaves(
    tiny: SparseModel,
) -> None:
    nodes = Nodes.of({"0.attn.v": [0, 1], "0.attn.resid_delta": [0, 1]})
    cuts = cut_weights([View.circuit(nodes, Edges.of({WRITE: [(0, 0), (1, 1)]}))], tiny)
    given = {"0.attn.v": torch.tensor([[3.0, 5.0], [6.0, 5.0], [9.0, 5.0]])}
    fill = {"0.attn.v": torch.tensor([2.0, 7.0])}
    held = _held(tiny, "0.attn.resid_delta", given=given, cuts=cuts, fill=fill)
    # Scores and the logit of the sink are zero: each of the tokens seen weighs as much as the sink.
    seen = [(3 / 2, 1 / 2), (9 / 3, 2 / 3), (18 / 4, 3 / 4)]  # of channel 0, and of all ones
    expected = torch.tensor([[first + 10 * 7 * ones, 100 * 5 * ones] for first, ones in seen])
    torch.testing.assert_close(held[0], expected)


def test_resampled_constants_are_those_of_each_prompt(tiny: SparseModel) -> None:
    cuts = cut_weights([View.circuit(MLP_NODES, Edges.of({UP: [(0, 0)]}))], tiny)
    given = {"0.mlp.act_in": torch.tensor([3.0, 5.0])}
    fill = {"0.mlp.act_in": torch.tensor([[[6.0, 7.0]], [[8.0, 9.0]]])}  # [B, 1, D]
    held = _held(tiny, "0.mlp.post_act", given=given, cuts=cuts, fill=fill)
    assert held[:, 2].tolist() == [[3 + 14, 18 + 28], [3 + 18, 24 + 36]]


def test_part_of_a_weight_can_be_cut_and_its_share_learnt(tiny: SparseModel) -> None:
    share = torch.tensor([[[0.25]], [[1.0]]], requires_grad=True)  # [K, R, S]
    cuts = {UP: Cut.of([1], [0], share)}
    given = {"0.mlp.act_in": torch.tensor([3.0, 5.0])}
    fill = {"0.mlp.act_in": torch.tensor([6.0, 7.0])}
    held = _held(tiny, "0.mlp.post_act", given=given, cuts=cuts, fill=fill)
    assert held[:, 0, 0].tolist() == [3 + 2 * (5 + 0.25 * 2), 3 + 2 * 7]
    held[0, 0, 0].backward()  # type: ignore[no-untyped-call]
    assert share.grad is not None
    assert share.grad.flatten().tolist() == [2 * (7 - 5), 0]


@pytest.fixture(scope="module")
def copier(tmp_path_factory: pytest.TempPathFactory) -> SparseModel:
    return load_sparse_model(write_quote_copier(tmp_path_factory.mktemp("edges") / "copier"))


@pytest.fixture(scope="module")
def pairs(copier: SparseModel) -> tuple[Pair, ...]:
    path = copier.path.parent / "quote.circuit.yaml"
    path.write_text(quote_spec(QUOTE_PATH, model="copier"))
    return PromptSpace(load_spec(path).spec.behavior).sample(24, seed=3)


def _margins(
    model: SparseModel, pairs: tuple[Pair, ...], view: View, ablation: Ablation = Ablation.MEAN
) -> np.typing.NDArray[np.float64]:
    return Runner(model, load_reference(model), ablation).margins(pairs, view)


BOTH = Nodes.of(merged(QUOTE_PATH, WEAK_PATH))


@pytest.mark.parametrize("ablation", list(Ablation))
def test_a_full_list_of_edges_is_no_list_bit_for_bit(
    copier: SparseModel, pairs: tuple[Pair, ...], ablation: Ablation
) -> None:
    everything = live_edges(BOTH, copier)
    assert everything.count == 6
    listed = _margins(copier, pairs, View.circuit(BOTH, everything), ablation)
    assert np.array_equal(listed, _margins(copier, pairs, View.circuit(BOTH), ablation))


@pytest.mark.parametrize("ablation", list(Ablation))
def test_nodes_without_edges_know_nothing_of_the_cue(
    copier: SparseModel, pairs: tuple[Pair, ...], ablation: Ablation
) -> None:
    nothing = _margins(copier, pairs, View.circuit(BOTH, Edges.of({})), ablation)
    if ablation.kind.constant:
        assert np.allclose(nothing.sum(axis=1), 0, atol=1e-5)
    if ablation is Ablation.CONTRAST:  # of the partner's cue alone
        assert (nothing < 0).all()
    assert (nothing > 1).mean() <= 0.5


def test_of_two_paths_the_one_whose_edges_are_listed_is_left(
    copier: SparseModel, pairs: tuple[Pair, ...]
) -> None:
    zero = Ablation.ZERO
    together = _margins(copier, pairs, View.circuit(BOTH), zero)
    for nodes, edges in ((QUOTE_PATH, QUOTE_EDGES), (WEAK_PATH, WEAK_EDGES)):
        alone = _margins(copier, pairs, View.circuit(Nodes.of(nodes)), zero)
        of_both = _margins(copier, pairs, View.circuit(BOTH, edges), zero)
        np.testing.assert_allclose(of_both, alone, atol=1e-5)
        assert np.abs(of_both - together).max() > 0.01
    assert QUOTE_EDGES.count + WEAK_EDGES.count == live_edges(BOTH, copier).count


@pytest.mark.parametrize("ablation", list(Ablation))
def test_circuits_with_different_edges_in_one_forward_score_as_each_alone(
    copier: SparseModel, pairs: tuple[Pair, ...], ablation: Ablation
) -> None:
    views = [
        View.circuit(BOTH, QUOTE_EDGES),
        View.without(BOTH),
        View.circuit(BOTH, WEAK_EDGES),
        View.circuit(BOTH),
        View.circuit(Nodes.of(QUOTE_PATH), Edges.of({})),
        View.circuit(BOTH, Edges.of({KEY: [(DETECT, 0)], VALUE: [(TYPE, 0)]})),
    ]
    runner = Runner(copier, load_reference(copier), ablation)
    alone = np.stack([_margins(copier, pairs, view, ablation) for view in views])
    np.testing.assert_allclose(runner.margins_many(pairs, views), alone, atol=1e-5)
    assert len(np.unique(alone.round(3), axis=0)) >= len(views) - 1


@pytest.mark.parametrize("ablation", list(Ablation))
def test_nodes_that_are_disconnected_have_each_weight_between_them_cut(
    copier: SparseModel, pairs: tuple[Pair, ...], ablation: Ablation
) -> None:
    one_by_one = View.without(Nodes(()), live_edges(BOTH, copier))
    cut = _margins(copier, pairs, View.disconnected(BOTH), ablation)
    assert np.array_equal(cut, _margins(copier, pairs, one_by_one, ablation))
    assert np.abs(cut - _margins(copier, pairs, WHOLE, ablation)).max() > 0.01


def test_without_a_list_no_weight_is_cut(copier: SparseModel) -> None:
    assert cut_weights([View.circuit(BOTH), View.without(BOTH)], copier) == {}
    assert cut_weights([View.circuit(BOTH, live_edges(BOTH, copier))], copier) == {}


def test_a_learnt_cut_has_a_gradient_for_every_weight(copier: SparseModel) -> None:
    reference, view = load_reference(copier), View.circuit(BOTH, Edges.of({}))
    cuts = {
        ends: Cut(cut.sources, cut.targets, cut.share.clone().mul(0.5).requires_grad_())
        for ends, cut in cut_weights([view], copier).items()
    }
    logits = run_circuits(
        copier,
        reference.tokens[:4, :8],
        at=None,
        keep=keep_masks([view], copier),
        fill=Ablation.MEAN.kind.fill(Given(reference)),
        cuts=cuts,
    )
    logits.square().sum().backward()  # type: ignore[no-untyped-call]
    for ends, cut in cuts.items():
        weight = cut.among(copier.wires()[ends].weight)
        assert cut.share.grad is not None
        assert torch.equal(cut.share.grad[0] != 0, weight != 0), ends


def test_an_edge_that_the_model_does_not_have_carries_nothing_and_does_not_count(
    copier: SparseModel, pairs: tuple[Pair, ...]
) -> None:
    nodes = Nodes.of(QUOTE_PATH)
    more = Edges.of({**dict(QUOTE_EDGES.pairs), KEY: [(DETECT, 0), (TYPE, 0)]})
    assert (more.count, count_edges(nodes, copier, more)) == (4, 3)
    assert count_edges(nodes, copier) == count_edges(nodes, copier, QUOTE_EDGES) == 3
    assert count_edges(nodes.without("0.attn.k", 0), copier, more) == 2
    with_it = _margins(copier, pairs, View.circuit(nodes, more))
    assert np.array_equal(with_it, _margins(copier, pairs, View.circuit(nodes)))


def test_edges_are_values() -> None:
    edges = Edges.of({DOWN: [(3, 1), (0, 2), (3, 1)], UP: [(1, 1)], KEY: []})
    assert edges == Edges.of({UP: [(1, 1)], DOWN: [(0, 2), (3, 1)]})
    assert hash(edges) == hash(Edges.of({UP: [(1, 1)], DOWN: [(0, 2), (3, 1)]}))
    assert edges.count == len(list(edges)) == 3
    assert next(iter(edges)) == (UP, (1, 1))
    assert edges.between(DOWN) == ((0, 2), (3, 1))
    assert edges.listed() == {
        "0.mlp.act_in -> 0.mlp.post_act": ((1, 1),),
        "0.mlp.post_act -> 0.mlp.resid_delta": ((0, 2), (3, 1)),
    }


def test_a_specification_lists_edges_or_does_not() -> None:
    def edges(extra: str) -> Edges | None:
        return edges_of(parse_spec(quote_spec(QUOTE_PATH, extra=extra), path=Path("q.yaml")).spec)

    assert edges("") is None
    assert edges("edges: {}") == Edges.of({})
    listed = f"edges: {{0.attn.act_in -> 0.attn.k: [[{DETECT}, 0]]}}"
    assert edges(listed) == Edges.of({KEY: [(DETECT, 0)]})


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("0.attn.resid_delta -> 0.attn.v", "did you mean '0.attn.v -> 0.attn.resid_delta'?"),
        ("0.attn.k -> 0.attn.resid_delta", f"possible: {INTO_WRITE}"),
        ("0.attn.act_in -> final_resid", f"possible: {FROM_ACT_IN}"),
        ("final_resid -> 0.attn.act_in", f"possible: {FROM_ACT_IN}, {INTO_WRITE}, {OF_MLP}"),
    ],
)
def test_hook_points_that_no_weight_joins_are_refused_at_their_line(
    copier: SparseModel, key: str, hint: str
) -> None:
    source, _, target = key.partition(" -> ")
    line = f"  {key}: [[{QUOTE_PATH[source][0]}, {QUOTE_PATH[target][0]}]]"
    text = quote_spec(QUOTE_PATH, extra=f"edges:\n{line}\n")
    (found,) = check_circuit(parse_spec(text, path=Path("q.circuit.yaml")), copier)
    assert str(found).splitlines()[0] == (
        f"q.circuit.yaml:{1 + text.splitlines().index(line)}:3: "
        f"no weight leads from '{source}' to '{target}'; {hint}"
    )


def test_a_circuit_that_the_model_has_is_without_problems(copier: SparseModel) -> None:
    listed = "edges: {0.attn.act_in -> 0.attn.k: [[0, 0]]}"
    loaded = parse_spec(quote_spec(QUOTE_PATH, extra=listed), path=Path("q.circuit.yaml"))
    assert check_circuit(loaded, copier) == ()


def test_nodes_that_the_model_does_not_have_are_named_at_their_line(copier: SparseModel) -> None:
    text = quote_spec({"0.attn.q": [0, 999], "0.atn.q": [1]})
    loaded = parse_spec(text, path=Path("q.circuit.yaml"))
    first = 1 + text.splitlines().index("  0.attn.q: [0, 999]")
    width, hook = (str(problem).splitlines()[0] for problem in check_circuit(loaded, copier))
    assert width == (
        f"q.circuit.yaml:{first}:17: node 0.attn.q[999] is out of range: "
        "0.attn.q has channels 0 to 63"
    )
    assert hook == (
        f"q.circuit.yaml:{first + 1}:3: the model has no hook point '0.atn.q'; "
        "did you mean '0.attn.q'?"
    )
