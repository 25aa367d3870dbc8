"""Exchanging all that some tokens send gives the other prompt; exchanging none of it, the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pytest_circuits.circuit.encoding import Encoder
from pytest_circuits.circuit.exchange import Part, aligned, margins_with_sent, parts_of
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.view import WHOLE
from pytest_circuits.model.open import load_model
from pytest_circuits.model.protocol import Model
from pytest_circuits.model.reference_file import load_reference
from pytest_circuits.prompts.space import Pair, Prompt
from pytest_circuits.spec.ablations import Ablation
from tests.known_models import write_quote_copier

CHANGES = [
    Pair(Prompt("x = 'alpha beta", "'", '"'), Prompt("value = 'alpha beta", "'", '"')),
    Pair(Prompt("x = 'alpha beta", "'", '"'), Prompt("x = 'alpha gamma", "'", '"')),
    Pair(Prompt('x = "beta', '"', "'"), Prompt('name = "beta', '"', "'")),
    Pair(Prompt(f'x = "{"beta " * 9}beta', '"', "'"), Prompt(f'x = "{"theta " * 9}beta', '"', "'")),
]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    model = load_model(write_quote_copier(tmp_path_factory.mktemp("sent") / "model"))
    return Runner(model, load_reference(model), Ablation.MEAN)


def whole_or_none(model: Model) -> list[Part]:
    """All of what is sent, and none of it."""
    hooks = parts_of(model, seed=0)[0].channels
    return [
        Part(name, {hook: torch.full_like(mask, held) for hook, mask in hooks.items()})
        for name, held in (("all", True), ("none", False))
    ]


def test_all_that_is_sent_makes_the_other_prompt_and_none_the_same(runner: Runner) -> None:
    before, after = runner.margins(CHANGES, WHOLE).T

    every, none = margins_with_sent(runner, CHANGES, whole_or_none(runner.model))

    assert np.abs(before - after).min() > 0.1
    np.testing.assert_allclose(every, after, atol=1e-4)
    np.testing.assert_allclose(none, before, atol=1e-4)


def test_every_layer_keys_values_and_readout_are_exchanged_alone(runner: Runner) -> None:
    names = [part.name for part in parts_of(runner.model, seed=0)]

    assert names[:5] == [
        "the keys and values of layer 0",
        "the keys and values of layer 1",
        "all keys",
        "all values",
        "what the unembedding reads",
    ]
    assert len(names) == 5 + 16


def test_prompts_of_other_lengths_or_with_the_same_tokens_are_not_aligned(runner: Runner) -> None:
    encoder = Encoder(runner.model)
    longer = Prompt("user_id = 'alpha beta", "'", '"')

    assert all(aligned(encoder, change) for change in CHANGES)
    assert not aligned(encoder, Pair(CHANGES[0].first, longer))
    assert not aligned(encoder, Pair(longer, longer))
