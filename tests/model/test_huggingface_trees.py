"""Prompts that begin alike run once, in every family that can hold a tree in one row."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch

pytest.importorskip("transformers", reason="needs the extra: pip install 'pytest-circuits[hf]'")

from pytest_circuits.circuit.encoding import Encoder
from pytest_circuits.circuit.interventions import apart, run_circuits, run_tree
from pytest_circuits.circuit.trees import Trees
from pytest_circuits.model.huggingface.adapter import HuggingFaceModel
from pytest_circuits.model.open import load_model
from pytest_circuits.model.protocol import BLOCK, Shares, block_of
from pytest_circuits.prompts.space import Prompt
from tests.huggingface.families import FAMILIES, make, save

TEXTS = ("w3 w9 w27 w17", "w3 w9 w27 w18", "w3 w9 w5", "w7", "w7 w9 w27 w17 w3", "w3 w9")
PROMPTS = [Prompt(text, " w1", " w2") for text in TEXTS]
WINDOWED = {"mistral", "gemma2", "gemma3_text", "gpt_neo"}  # some layers look back so far alone
BY_DISTANCE = {"bloom"}  # positions are where a token stands in its row
CIRCUITS = 3


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:  # noqa: ANN401  (with a name)
    path = save(make(request.param), tmp_path_factory.mktemp("family") / request.param)
    return cast("HuggingFaceModel", load_model(path))


@torch.inference_mode()
def test_a_tree_gives_the_logits_of_its_prompts(model: HuggingFaceModel) -> None:
    assert isinstance(model, Shares)
    ((_, grown),) = Trees(Encoder(model)).groups(PROMPTS, rows=64)
    batch = grown.batch
    torch.manual_seed(0)
    for point in model.points:
        some = model.among([point])
        keep = {n: torch.rand(CIRCUITS, s.width) < 0.5 for n, s in some.sites.items()}
        first = next(iter(keep))
        keep[first] = torch.ones_like(keep[first])  # so that a row becomes several on the way
        fill = {
            name: torch.randn(1, len(grown.tree.tokens), site.width * site.channels)
            for name, site in some.sites.items()
        }
        side_by_side = {name: apart(x, grown.tree) for name, x in fill.items()}
        expected = run_circuits(
            some, batch.tokens, at=batch.last, keep=keep, fill=side_by_side, cuts={}
        )
        found = run_tree(some, grown.tree, keep=keep, fill=fill, cuts={})
        scale = float(expected.abs().max())
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * scale, msg=point)


def test_it_is_known_which_families_can(model: HuggingFaceModel) -> None:
    assert model.branches == (model.path.name not in WINDOWED | BY_DISTANCE)


def test_a_block_is_small_where_tokens_cost_much(model: HuggingFaceModel) -> None:
    assert block_of(model) < BLOCK
    assert block_of(object()) == BLOCK
