"""Prompts as trees give what each prompt gives by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pytest_circuits.circuit.edges import live_edges
from pytest_circuits.circuit.encoding import Encoder
from pytest_circuits.circuit.interventions import run_circuits, run_tree
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.trees import Trees
from pytest_circuits.circuit.view import WHOLE, View, cut_weights, keep_masks
from pytest_circuits.model.protocol import Shares
from pytest_circuits.model.reference_file import load_reference
from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.model.sparse.directory import load_sparse_model
from pytest_circuits.prompts.space import Pair, Prompt, PromptSpace
from pytest_circuits.spec.ablations import Ablation, Given
from pytest_circuits.spec.load import load_spec
from tests.circuit.random_models import VARIANTS, random_model
from tests.known_models import QUOTE_PATH, quote_spec, write_quote_copier

TEXTS = ("wxyz", "wxyzwx", "wxzz", "wx", "zyxw", "wxyzz")
PROMPTS = [Prompt(text, "x", "y") for text in TEXTS]


class Alone:
    """A model that runs each prompt by itself."""

    def __init__(self, model: SparseModel) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (whatever the model has)
        if name == "run_shared":
            raise AttributeError(name)
        return getattr(self._model, name)


@pytest.fixture(scope="module")
def copier(tmp_path_factory: pytest.TempPathFactory) -> SparseModel:
    return load_sparse_model(write_quote_copier(tmp_path_factory.mktemp("model") / "copier"))


@pytest.fixture(scope="module")
def pairs(copier: SparseModel) -> tuple[Pair, ...]:
    path = copier.path.parent / "quote.circuit.yaml"
    path.write_text(quote_spec(QUOTE_PATH, model="copier"))
    return PromptSpace(load_spec(path).spec.behavior).sample(40, seed=3)


@pytest.mark.parametrize("variant", VARIANTS)
@torch.inference_mode()
def test_a_tree_gives_the_logits_of_its_prompts(variant: str) -> None:
    model, reference = random_model(**VARIANTS[variant])
    ((indexes, grown),) = Trees(Encoder(model)).groups(PROMPTS, rows=64)
    batch = Encoder(model).batch(PROMPTS, rows=len(PROMPTS))
    width = model.sites["0.attn.q"].width
    nodes = Nodes.of({"0.attn.act_in": [0, 3], "0.attn.q": range(width), "final_resid": [1, 2]})
    views = [View.without(nodes), WHOLE, View.circuit(nodes, live_edges(nodes, model))]
    keep, fill = keep_masks(views, model), Ablation.MEAN.kind.fill(Given(reference))

    for cuts in ({}, cut_weights([views[0], views[1], views[2]], model)):
        apart = run_circuits(model, batch.tokens, at=batch.last, keep=keep, fill=fill, cuts=cuts)
        together = run_tree(model, grown.tree, keep=keep, fill=fill, cuts=cuts)
        torch.testing.assert_close(together, apart, rtol=1e-5, atol=1e-5)
    assert indexes == [*range(len(PROMPTS))]


@pytest.mark.parametrize("ablation", list(Ablation))
def test_a_model_that_shares_beginnings_scores_as_one_that_does_not(
    copier: SparseModel, pairs: tuple[Pair, ...], ablation: Ablation
) -> None:
    alone: Any = Alone(copier)
    assert isinstance(copier, Shares)
    assert not isinstance(alone, Shares)
    one, other = (Runner(model, load_reference(copier), ablation) for model in (copier, alone))
    nodes = Nodes.of(QUOTE_PATH)
    cut = View.without(Nodes(()), live_edges(nodes, copier))
    views = [View.without(nodes), View.circuit(nodes), cut]

    for view in (WHOLE, *views):
        np.testing.assert_allclose(one.margins(pairs, view), other.margins(pairs, view), atol=1e-5)
    many, apart = (runner.margins_many(pairs, views) for runner in (one, other))
    np.testing.assert_allclose(many, apart, atol=1e-5)


def test_each_beginning_stands_once(copier: SparseModel) -> None:
    ((_, grown),) = Trees(Encoder(copier)).groups(PROMPTS, rows=64)

    tokens = [tuple(copier.encode(text)) for text in TEXTS]
    beginnings = {ids[: end + 1] for ids in tokens for end in range(len(ids))}
    tree = grown.tree
    assert len(tree.tokens) == max(len(beginnings), len(PROMPTS) + 1)
    rows = [path[: last + 1] for path, last in zip(tree.padded, tree.last, strict=True)]
    assert [tuple(row.tolist()) for row in rows] == tokens
    assert tree.tokens[tree.ends].tolist() == [ids[-1] for ids in tokens]


def test_what_is_resampled_otherwise_is_not_shared(copier: SparseModel) -> None:
    prompts, reference = [Prompt(x, "x", "y") for x in ("wxyz", "wxyw")], load_reference(copier)
    trees = Trees.of(Encoder(copier), reference, Ablation.RESAMPLE.kind)
    ((_, grown),) = trees.groups(prompts, rows=64)

    first, second = (set(path.tolist()) for path in grown.tree.paths)

    assert not first & second
    assert len(set(grown.marks[grown.tree.ends].tolist())) == 2


def test_blocks_have_a_shape_that_depends_on_the_length_alone(
    copier: SparseModel, pairs: tuple[Pair, ...]
) -> None:
    trees = Trees.of(Encoder(copier), load_reference(copier), Ablation.CONTRAST.kind)
    prompts = [prompt for pair in pairs for prompt in (pair.first, pair.second)]
    by_length: dict[int, set[tuple[int, ...]]] = {}
    seen = []

    for some in (prompts, prompts[:1], prompts[5:9]):
        for indexes, grown in trees.blocks(some, rows=8):
            assert grown.partners is not None
            shapes = (grown.tree.paths, grown.tree.tokens, grown.partners.tokens, grown.choices)
            sizes = tuple(n for tensor in shapes for n in tensor.shape)
            by_length.setdefault(grown.tree.paths.shape[1], set()).add(sizes)
            seen += [some[i] for i in indexes]

    assert all(len(shapes) == 1 for shapes in by_length.values())
    assert sorted(p.text for p in seen) == sorted(
        p.text for some in (prompts, prompts[:1], prompts[5:9]) for p in some
    )
