"""The configuration of a published model (`beeg_config.json`), and what of it we can express.

Field names and defaults are those of OpenAI's circuit_sparsity; the files that were released hold
further keys, which its own loader does not know either.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ValidationError

from pytest_circuits.errors import ModelError, told
from pytest_circuits.model.sparse.adapter import sites
from pytest_circuits.model.sparse.config import (
    ActivationPoint,
    Layers,
    ModelConfig,
    Positions,
    Share,
    Tokens,
    Width,
)
from pytest_circuits.spec.frozen import Frozen
from pytest_circuits.spec.problems import quoted, suggest
from pytest_circuits.system.files import parse_json

# Where a published model cuts activations to their largest, and what we call the place.
LOCATIONS: dict[str, ActivationPoint] = {
    "attn_in": "attn.act_in",
    "attn_q": "attn.q",
    "attn_k": "attn.k",
    "attn_v": "attn.v",
    "attn_out": "attn.resid_delta",
    "mlp_in": "mlp.act_in",
    "mlp_neuron": "mlp.post_act",
    "mlp_out": "mlp.resid_delta",
    "resid_post_attn": "attn.resid",
    "resid_post_mlp": "mlp.resid",
}
_EVERYWHERE = {place for place in LOCATIONS.values() if not place.endswith(".resid")}

# Keys with a single value that our architecture has, what another value means, and the value
# without the key.
_ONLY: dict[str, tuple[object, str, object]] = {
    "rms_norm": (True, "the norms are LayerNorm; RMSNorm alone is supported", False),
    "residual_activation_type": ("identity", "the residual stream is rectified", "identity"),
    "use_tied_aux_matrix": (False, "weights are tied through a further matrix", False),
    "tied_aux_matrix": (False, "weights are tied through a further matrix", False),
    "afrac_approx": (False, "activations are cut approximately", False),
    "mup": (False, "logits and weights are scaled by width", False),
    "mup_width_multiplier": (None, "logits and weights are scaled by width", None),
    "scale_invariance": (False, "weights are rescaled in the forward pass", False),
}
# Keys that change nothing at inference, or nothing that the tensors do not show.
_IGNORED = {
    *("dropout", "dropout_cat_pos_emb", "debug_nans", "grad_checkpointing", "flash", "ln_bias"),
    *("enable_sparse_kernels", "sparse_matmul_impl", "enable_fp8_linear", "debug_exact_topk"),
    *("rtopk", "afrac_ste", "afrac_ste_only_non_neurons", "pfrac", "expansion_factor"),
    *("expansion_factor_mlp", "learnable_bigram_table", "bigram_table_rank", "unembed_rank"),
    *("sinusoidal_cat_pos_emb",),
}


class PublishedConfig(Frozen):
    """What decides the architecture of a published model."""

    block_size: Tokens = 1024
    vocab_size: Tokens = 50304
    n_layer: Layers = 12
    n_head: Width = 12
    d_head: Width | None = None  # d_model / n_head
    d_model: Width = 768
    d_mlp: Width | None = None  # 4 * d_model
    bias: bool = True
    activation_type: Literal["gelu", "relu"] = "gelu"
    afrac: Share | None = None
    afrac_loctypes: str = "attn_in,attn_out,mlp_in,mlp_out"
    tied_unembed: bool = True
    enable_bigram_table: bool = False
    d_pos_emb: Width | None = None  # width of concatenated positions; otherwise they are added
    sink: bool | None = False
    tokenizer_name: str = "tinypython_2k"

    @property
    def head_width(self) -> int:
        return self.d_head or self.d_model // self.n_head

    @property
    def mlp_width(self) -> int:
        return self.d_mlp or 4 * self.d_model

    @property
    def cut(self) -> list[str]:
        """Where activations are cut to their largest."""
        names = self.afrac_loctypes.split(",") if self.afrac is not None else []
        return [name for name in names if name]


def read_published_config(content: bytes, *, source: str) -> PublishedConfig:
    """Parse `beeg_config.json`; ModelError names every key that we cannot express, and why."""
    values = parse_json(content, source=source, error=ModelError)
    problems = [
        f"{key}: {values.get(key, default)!r} is not supported: {meaning}; supported: {only!r}"
        for key, (only, meaning, default) in _ONLY.items()
        if values.get(key, default) != only
    ]
    values = {key: x for key, x in values.items() if key not in _ONLY and key not in _IGNORED}
    for old, new in (("n_mlp", "d_mlp"), ("n_embd", "d_model")):
        given = values.pop(old, None)
        if given is not None and values.setdefault(new, given) != given:
            problems.append(f"{old}: {given!r} is another width than {new}, {values[new]!r}")
    problems += _unknown(values)
    try:
        config = PublishedConfig.model_validate(
            {key: x for key, x in values.items() if key in PublishedConfig.model_fields}
        )
    except ValidationError as error:
        problems += [f"{e['loc'][0]}: {e['msg']}, got {e['input']!r}" for e in error.errors()]
    else:
        problems += _contradictions(config)
    if problems:
        listed = "\n".join(f"  {problem}" for problem in told(problems))
        raise ModelError(f"{source}: not a configuration that can be converted:\n{listed}")
    return config


def _unknown(values: dict[str, Any]) -> list[str]:
    known = [*PublishedConfig.model_fields, *_ONLY, *_IGNORED, "n_mlp"]
    return [
        f"{key}: unknown, so what it changes is unknown too"
        + (f"; {hint}" if (hint := suggest(key, known)) else "")
        for key in values
        if key not in PublishedConfig.model_fields
    ]


def _contradictions(config: PublishedConfig) -> list[str]:
    problems = []
    if config.d_model % config.n_head:
        problems.append(f"n_head: {config.n_head} does not divide d_model, {config.d_model}")
    for name in config.cut:
        if name not in LOCATIONS:
            known = ", ".join(LOCATIONS)
            problems.append(f"afrac_loctypes: {quoted(name)} is no place; supported: {known}")
    return problems or _cuts_everything(config)


def _cuts_everything(config: PublishedConfig) -> list[str]:
    positions: Positions = "concatenated" if config.d_pos_emb else "none"
    widths = {
        name: site.width for name, site in sites(model_config(config, positions=positions)).items()
    }
    cut = {name: widths.get(f"0.{LOCATIONS[name]}", config.d_model) for name in config.cut}
    return [
        f"afrac: {config.afrac} of the {width} activations at {name} keeps none"
        for name, width in cut.items()
        if int((config.afrac or 1) * width) < 1
    ]


def model_config(config: PublishedConfig, *, positions: Positions) -> ModelConfig:
    places = {LOCATIONS[name] for name in config.cut}
    share = float(config.afrac or 1.0)
    everywhere = places >= _EVERYWHERE
    extra = places - _EVERYWHERE if everywhere else places
    return ModelConfig(
        vocab_size=config.vocab_size,
        n_layer=config.n_layer,
        d_model=config.d_model,
        n_head=config.n_head,
        d_head=config.head_width,
        d_mlp=config.mlp_width,
        max_tokens=config.block_size,
        activation=config.activation_type,
        activation_share=share if everywhere else 1.0,
        activation_shares=dict.fromkeys(sorted(extra), share) if share < 1 else {},
        sinks=bool(config.sink),
        bigram=config.enable_bigram_table,
        positions=positions,
        d_positions=(config.d_pos_emb or 0) if positions == "concatenated" else 0,
    )
