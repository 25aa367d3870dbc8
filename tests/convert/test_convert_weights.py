"""A converted model gives the logits of the published architecture, in every variant."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from pytest_circuits.convert.published import read_published_config
from pytest_circuits.convert.weights import our_model
from pytest_circuits.errors import ModelError
from pytest_circuits.model.sparse.gpt import SparseGPT
from tests.convert.published_models import (
    EVERYWHERE,
    TOKENS,
    VOCABULARY,
    State,
    config_with,
    random_state,
    straight_logits,
)

DEFAULT_LOCATIONS = "attn_in,attn_out,mlp_in,mlp_out"
RESIDUAL = "resid_post_attn,resid_post_mlp"
VARIANTS: dict[str, tuple[dict[str, Any], str]] = {
    "as released": ({}, "zero"),
    "no sink": ({"sink": False}, "zero"),
    "sink null": ({"sink": None}, "zero"),
    "sink absent": ({"sink": ...}, "zero"),
    "no bigram table": ({"enable_bigram_table": False}, "zero"),
    "fixed bigram table": ({"learnable_bigram_table": False}, "zero"),
    "no biases": ({"bias": False}, "zero"),
    "dense activations": ({"afrac": None}, "zero"),
    "all activations kept": ({"afrac": 1.0}, "zero"),
    "half of the activations": ({"afrac": 0.5}, "zero"),
    "default locations": ({"afrac_loctypes": ..., "afrac": 0.4}, "zero"),
    "neurons alone": ({"afrac_loctypes": "mlp_neuron"}, "zero"),
    "residual stream too": ({"afrac_loctypes": f"{EVERYWHERE},{RESIDUAL}"}, "zero"),
    "residual stream alone": ({"afrac_loctypes": RESIDUAL}, "zero"),
    "tied": ({"tied_unembed": True}, "zero"),
    "relu": ({"activation_type": "relu"}, "zero"),
    "added positions": ({}, "random"),
    "concatenated positions": ({"d_pos_emb": 6}, "random"),
    "concatenated sinusoids": ({"d_pos_emb": 8, "sinusoidal_cat_pos_emb": True}, "sinusoids"),
    "concatenated, no position yet": ({"d_pos_emb": 6}, "zero"),
    "derived widths": ({"d_head": ..., "d_mlp": None}, "zero"),
    "n_mlp": ({"d_mlp": ..., "n_mlp": 40}, "zero"),
    "heads wider than the model": ({"d_head": 12}, "random"),
    "dropout in training": ({"dropout": 0.1, "dropout_cat_pos_emb": True}, "zero"),
}


def _converted(config: dict[str, Any], state: State) -> SparseGPT:
    published = read_published_config(json.dumps(config).encode(), source="beeg_config.json")
    return our_model(state, published, source="final_model.pt")


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("seed", [0, 1])
def test_logits_are_those_of_a_straight_reading(name: str, seed: int) -> None:
    changes, positions = VARIANTS[name]
    # Defaults of the published code stand where a key is absent.
    filled = config_with(**changes)
    read = filled | {"afrac_loctypes": filled.get("afrac_loctypes", DEFAULT_LOCATIONS)}
    state = random_state(read, positions=positions, seed=seed)
    tokens = torch.randint(
        VOCABULARY, (TOKENS,), generator=torch.Generator().manual_seed(seed)
    ).tolist()
    module = _converted(filled, state)
    logits = module(torch.tensor([tokens]))[0].double()
    torch.testing.assert_close(logits, straight_logits(read, state, tokens), atol=1e-5, rtol=1e-5)


def test_the_positions_are_seen_in_the_table() -> None:
    kinds = {
        (positions, width): _converted(
            config_with(d_pos_emb=width),
            random_state(config_with(d_pos_emb=width), positions=positions),
        ).config.positions
        for positions in ("zero", "random")
        for width in (None, 6)
    }
    assert kinds == {
        ("zero", None): "none",
        ("random", None): "added",
        ("zero", 6): "concatenated",
        ("random", 6): "concatenated",
    }


def test_old_checkpoints_have_no_final_bias_and_slow_ones_a_causal_mask() -> None:
    config = config_with()
    state = random_state(config)
    del state["final_logits_bias"]
    mask = torch.tril(torch.ones(TOKENS, TOKENS)).view(1, 1, TOKENS, TOKENS)
    masked = state | {"transformer.h.0.attn.bias": mask}
    logits = _converted(config, masked)(torch.tensor([[1, 2, 3]]))[0].double()
    torch.testing.assert_close(
        logits, straight_logits(config, state, [1, 2, 3]), atol=1e-5, rtol=1e-5
    )


def test_a_tied_matrix_may_be_stored_once_and_must_not_differ() -> None:
    config = config_with(tied_unembed=True)
    state = random_state(config)
    once = {name: tensor for name, tensor in state.items() if name != "lm_head.weight"}
    tokens = torch.tensor([[4, 5]])
    assert torch.equal(_converted(config, once)(tokens), _converted(config, state)(tokens))
    with pytest.raises(ModelError, match=r"tied_unembed is true, but .* differ"):
        _converted(config, state | {"lm_head.weight": state["lm_head.weight"] + 1})


def test_every_tensor_that_does_not_fit_is_named() -> None:
    state = random_state(config_with())
    del state["transformer.h.1.attn.attn_imp.sink_logit"]
    state["transformer.h.0.mlp.c_fc.weight"] = torch.zeros(3, 3)
    state["transformer.ln_f.weight"] = torch.zeros(16, dtype=torch.int64)
    state["auxiliary"] = torch.zeros(2)
    with pytest.raises(ModelError) as error:
        _converted(config_with(), state)
    text = str(error.value)
    assert "missing tensor 'transformer.h.1.attn.attn_imp.sink_logit'" in text
    assert "'transformer.h.0.mlp.c_fc.weight' has shape [3, 3], beeg_config.json says [24, 16]" in (
        text
    )
    assert "'transformer.ln_f.weight' has type torch.int64" in text
    assert "unexpected tensor 'auxiliary'" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rms_norm": False}, "rms_norm: False is not supported: the norms are LayerNorm"),
        ({"rms_norm": ...}, "rms_norm: False is not supported"),
        ({"residual_activation_type": "relu"}, "residual_activation_type: 'relu' is not supported"),
        ({"use_tied_aux_matrix": True}, "use_tied_aux_matrix: True is not supported"),
        ({"mup": True}, "mup: True is not supported"),
        ({"activation_type": "silu"}, "activation_type: Input should be 'gelu' or 'relu'"),
        ({"n_heads": 4}, "n_heads: unknown, so what it changes is unknown too"),
        ({"n_heads": 4}, "did you mean 'n_head'?"),
        ({"n_mlp": 7}, "n_mlp: 7 is another width than d_mlp, 24"),
        ({"n_head": 5}, "n_head: 5 does not divide d_model, 16"),
        ({"afrac_loctypes": "mlp_inn"}, "afrac_loctypes: 'mlp_inn' is no place; supported: attn_"),
        ({"afrac": 0.01}, "afrac: 0.01 of the 16 activations at attn_in keeps none"),
        ({"afrac": 1.5}, "afrac: Input should be less than or equal to 1, got 1.5"),
        ({"d_model": "16"}, "d_model: Input should be a valid integer, got '16'"),
        ({"d_pos_emb": 0}, "d_pos_emb: Input should be greater than or equal to 1"),
    ],
)
def test_a_configuration_that_we_cannot_express_is_refused_by_key(
    changes: dict[str, Any], said: str
) -> None:
    content = json.dumps(config_with(**changes)).encode()
    with pytest.raises(ModelError) as error:
        read_published_config(content, source="beeg_config.json")
    assert "beeg_config.json: not a configuration that can be converted:" in str(error.value)
    assert said in str(error.value)


def test_all_problems_of_a_configuration_are_listed_at_once() -> None:
    content = json.dumps(config_with(mup=True, rms_norm=False, zzz=1, n_layer=0)).encode()
    with pytest.raises(ModelError) as error:
        read_published_config(content, source="beeg_config.json")
    assert len(str(error.value).splitlines()) == 5
