"""`config.json`: what older files do not say has one meaning, and is not written either."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_circuits.model.sparse.config import ModelConfig

OLD = {"vocab_size": 9, "n_layer": 1, "d_model": 16, "d_head": 4, "d_mlp": 8, "max_tokens": 8}
OLD_KEYS = {*OLD, "architecture", "activation", "activation_share", "sinks", "bigram"}


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ({}, set()),
        ({"n_head": 4, "positions": "none", "activation_shares": {}}, set()),
        ({"n_head": 5}, {"n_head"}),
        ({"activation_shares": {"mlp.resid": 0.5}}, {"activation_shares"}),
        ({"positions": "added"}, {"positions"}),
        ({"positions": "concatenated", "d_positions": 4}, {"positions", "d_positions"}),
    ],
)
def test_a_newer_key_is_written_where_it_says_something(
    given: dict[str, Any], written: set[str]
) -> None:
    config = ModelConfig.model_validate(OLD | given)
    text = json.dumps(config.model_dump())
    assert set(json.loads(text)) == OLD_KEYS | written
    assert ModelConfig.model_validate(json.loads(text)) == config
