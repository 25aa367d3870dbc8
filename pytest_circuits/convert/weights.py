"""The tensors of a published model under our names."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pytest_circuits.convert.published import PublishedConfig, model_config
from pytest_circuits.errors import ModelError
from pytest_circuits.model.sparse.config import Positions
from pytest_circuits.model.sparse.gpt import SparseGPT
from pytest_circuits.model.tensor_file import check_shapes

Shapes = dict[str, tuple[int, ...]]
_WTE, _WPE, _HEAD = "transformer.wte.weight", "transformer.wpe.weight", "lm_head.weight"
_FINAL_BIAS, _BIGRAM = "final_logits_bias", "bigram_table"


def expected_shapes(config: PublishedConfig) -> Shapes:
    """Every tensor that a published checkpoint of this configuration holds, with its shape."""
    width, vocabulary = config.d_model, config.vocab_size
    shapes: Shapes = {
        _WTE: (vocabulary, width),
        _WPE: (config.block_size, config.d_pos_emb or width),
        "transformer.ln_f.weight": (width,),
        _HEAD: (vocabulary, width),
    }
    if config.enable_bigram_table:
        shapes[_BIGRAM] = (vocabulary, vocabulary)
    for layer in range(config.n_layer):
        shapes |= {f"transformer.h.{layer}.{k}": v for k, v in _layer_shapes(config).items()}
    return shapes


def _layer_shapes(config: PublishedConfig) -> Shapes:
    width, attn, mlp = config.d_model, config.n_head * config.head_width, config.mlp_width
    read = width + (config.d_pos_emb or 0)
    linears = {
        "attn.c_attn": (3 * attn, read),
        "attn.c_proj": (width, attn),
        "mlp.c_fc": (mlp, read),
        "mlp.c_proj": (width, mlp),
    }
    shapes: Shapes = {"ln_1.weight": (width,), "ln_2.weight": (width,)}
    shapes |= {f"{name}.weight": shape for name, shape in linears.items()}
    if config.bias:
        shapes |= {f"{name}.bias": shape[:1] for name, shape in linears.items()}
    if config.d_pos_emb:
        shapes |= {"ln_p1.weight": (config.d_pos_emb,), "ln_p2.weight": (config.d_pos_emb,)}
    if config.sink:
        shapes["attn.attn_imp.sink_logit"] = (config.n_head,)
    return shapes


def _optional_shapes(config: PublishedConfig) -> Shapes:
    """Tensors that old checkpoints lack, and the causal mask that slow attention stores."""
    mask = (1, 1, config.block_size, config.block_size)
    masks = {f"transformer.h.{layer}.attn.bias": mask for layer in range(config.n_layer)}
    return {_FINAL_BIAS: (config.vocab_size,), **masks}


def most_bytes(config: PublishedConfig) -> int:
    """The size that no checkpoint of this configuration exceeds."""
    shapes = expected_shapes(config) | _optional_shapes(config)
    entries = sum(torch.Size(shape).numel() for shape in shapes.values())
    return 8 * entries + 4096 * len(shapes) + 2**20


def our_model(state: Mapping[str, Tensor], config: PublishedConfig, *, source: str) -> SparseGPT:
    """The model with the weights of a published checkpoint, in float32."""
    found = dict(state)
    if config.tied_unembed:
        _untie(found, source)
    optional = _optional_shapes(config)
    shapes = expected_shapes(config) | optional
    check_shapes(found, shapes, source, optional=optional, config="beeg_config.json")
    table = found[_WPE]
    positions: Positions = "concatenated" if config.d_pos_emb else "added"
    if positions == "added" and not bool(table.any()):
        positions = "none"
    weights = {
        "embed.weight": found[_WTE],
        "norm.weight": found["transformer.ln_f.weight"],
        "unembed.weight": found[_HEAD],
        "unembed.bias": found.get(_FINAL_BIAS, torch.zeros(config.vocab_size)),
    }
    if positions != "none":
        weights["positions"] = table
    if config.enable_bigram_table:
        weights["bigram"] = found[_BIGRAM]
    for layer in range(config.n_layer):
        weights |= _layer(found, config, layer)
    with torch.device("meta"):
        module = SparseGPT(model_config(config, positions=positions))
    # Copies: the file may share one storage between tied or sliced tensors, ours never does.
    copies = {name: x.to(torch.float32, copy=True).contiguous() for name, x in weights.items()}
    module.load_state_dict(copies, strict=True, assign=True)
    return module


def _layer(state: Mapping[str, Tensor], config: PublishedConfig, layer: int) -> dict[str, Tensor]:
    prefix = f"transformer.h.{layer}"

    def linear(theirs: str, ours: str, rows: slice = slice(None)) -> dict[str, Tensor]:
        weight = state[f"{prefix}.{theirs}.weight"][rows]
        bias = state.get(f"{prefix}.{theirs}.bias")
        return {
            f"{ours}.weight": weight,
            f"{ours}.bias": torch.zeros(len(weight)) if bias is None else bias[rows],
        }

    width = config.n_head * config.head_width
    attn, mlp = f"attn.{layer}", f"mlp.{layer}"
    weights = {
        f"{attn}.norm.weight": state[f"{prefix}.ln_1.weight"],
        f"{mlp}.norm.weight": state[f"{prefix}.ln_2.weight"],
    }
    for part, name in enumerate(("q", "k", "v")):
        rows = slice(part * width, (part + 1) * width)
        weights |= linear("attn.c_attn", f"{attn}.{name}", rows)
    weights |= linear("attn.c_proj", f"{attn}.out")
    weights |= linear("mlp.c_fc", f"{mlp}.up") | linear("mlp.c_proj", f"{mlp}.down")
    if config.sink:
        weights[f"{attn}.sink"] = state[f"{prefix}.attn.attn_imp.sink_logit"]
    if config.d_pos_emb:
        weights[f"{attn}.position_norm.weight"] = state[f"{prefix}.ln_p1.weight"]
        weights[f"{mlp}.position_norm.weight"] = state[f"{prefix}.ln_p2.weight"]
    return weights


def _untie(state: dict[str, Tensor], source: str) -> None:
    """Give both tied tensors their name, whichever the file holds."""
    for name, other in ((_WTE, _HEAD), (_HEAD, _WTE)):
        if name not in state and other in state:
            state[name] = state[other]
    if _WTE in state and _HEAD in state and not torch.equal(state[_WTE], state[_HEAD]):
        raise ModelError(f"{source}: tied_unembed is true, but {_WTE} and {_HEAD} differ")
