"""Models in the published format with random weights, and their logits by a straight reading.

The reading follows Gao et al. 2025 and the released semantics one token and one head at a time, in
float64; nothing of it comes from the package.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

VOCABULARY, TOKENS = 50, 12
EVERYWHERE = "attn_in,attn_q,attn_k,attn_v,attn_out,mlp_in,mlp_neuron,mlp_out"
SMALL: dict[str, Any] = {
    "block_size": TOKENS,
    "vocab_size": VOCABULARY,
    "n_layer": 2,
    "n_head": 4,
    "d_head": 6,
    "d_model": 16,
    "d_mlp": 24,
    "dropout": 0.0,
    "bias": True,
    "ln_bias": True,
    "rms_norm": True,
    "residual_activation_type": "identity",
    "activation_type": "gelu",
    "afrac": 0.25,
    "afrac_loctypes": EVERYWHERE,
    "debug_nans": False,
    "tied_unembed": False,
    "tokenizer_name": "tinypython_2k",
    "grad_checkpointing": True,
    "enable_bigram_table": True,
    "learnable_bigram_table": True,
    "enable_sparse_kernels": False,
    "flash": True,
    "sink": True,
    # What released files hold beside the fields of the released code:
    "pfrac": 0.0625,
    "expansion_factor": 4,
    "expansion_factor_mlp": 4,
    "bigram_table_rank": None,
    "debug_exact_topk": False,
    "sparse_matmul_impl": "torch",
}
State = dict[str, Tensor]


def config_with(**changes: object) -> dict[str, Any]:
    """The small configuration with some keys changed; `...` removes a key."""
    return {key: value for key, value in (SMALL | changes).items() if value is not ...}


def random_state(config: dict[str, Any], *, positions: str = "zero", seed: int = 0) -> State:
    """A state dict under the published names. positions: zero, random or sinusoids."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int, size: float = 0.5) -> Tensor:
        return size * torch.randn(*shape, generator=generator)

    width, vocabulary, apart = config["d_model"], config["vocab_size"], config.get("d_pos_emb")
    heads = config["n_head"] * (config.get("d_head") or width // config["n_head"])
    mlp = config.get("n_mlp") or config.get("d_mlp") or 4 * width
    state = {
        "transformer.wte.weight": drawn(vocabulary, width),
        "transformer.wpe.weight": torch.zeros(config["block_size"], apart or width),
        "transformer.ln_f.weight": 1 + drawn(width),
        "final_logits_bias": drawn(vocabulary),
    }
    if positions == "random":
        state["transformer.wpe.weight"] = drawn(config["block_size"], apart or width)
    elif positions == "sinusoids":
        state["transformer.wpe.weight"] = _sinusoids(config["block_size"], apart or width)
    tied = config.get("tied_unembed", True)
    table = state["transformer.wte.weight"]
    state["lm_head.weight"] = table if tied else drawn(vocabulary, width)
    if config.get("enable_bigram_table"):
        state["bigram_table"] = drawn(vocabulary, vocabulary)
    for layer in range(config["n_layer"]):
        part = _random_layer(config, drawn, heads=heads, mlp=mlp)
        state |= {f"transformer.h.{layer}.{name}": tensor for name, tensor in part.items()}
    return state


def _random_layer(
    config: dict[str, Any], drawn: Callable[..., Tensor], *, heads: int, mlp: int
) -> State:
    width, apart = config["d_model"], config.get("d_pos_emb") or 0
    part = {}
    for name, rows, columns in (
        ("attn.c_attn", 3 * heads, width + apart),
        ("attn.c_proj", width, heads),
        ("mlp.c_fc", mlp, width + apart),
        ("mlp.c_proj", width, mlp),
    ):
        part[f"{name}.weight"] = drawn(rows, columns)
        if config.get("bias", True):
            part[f"{name}.bias"] = drawn(rows)
    for name in ("ln_1", "ln_2"):
        part[f"{name}.weight"] = 1 + drawn(width)
    for name in ("ln_p1", "ln_p2") if apart else ():
        part[f"{name}.weight"] = 1 + drawn(apart)
    if config.get("sink"):
        part["attn.attn_imp.sink_logit"] = drawn(config["n_head"], size=2.0)
    return part


def write_published(folder: Path, config: dict[str, Any], state: State) -> Path:
    """The folder as it was released: `beeg_config.json` and a pickled `final_model.pt`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "beeg_config.json").write_text(json.dumps(config), encoding="utf-8")
    torch.save(state, folder / "final_model.pt")
    return folder


def straight_logits(config: dict[str, Any], state: State, tokens: list[int]) -> Tensor:
    """Logits [T, V] after each token, in float64."""
    weights = {name: tensor.double() for name, tensor in state.items()}
    resid = [weights["transformer.wte.weight"][token] for token in tokens]
    positions = list(weights["transformer.wpe.weight"][: len(tokens)])
    apart = config.get("d_pos_emb") is not None
    if not apart:
        resid = [x + p for x, p in zip(resid, positions, strict=True)]
    for layer in range(config["n_layer"]):
        part = {
            name.removeprefix(f"transformer.h.{layer}."): tensor
            for name, tensor in weights.items()
            if name.startswith(f"transformer.h.{layer}.")
        }
        for norm, position_norm, sublayer, after in (
            ("ln_1", "ln_p1", _attention, "resid_post_attn"),
            ("ln_2", "ln_p2", _mlp, "resid_post_mlp"),
        ):
            read = [_rms(x, part[f"{norm}.weight"]) for x in resid]
            if apart:
                gain = part[f"{position_norm}.weight"]
                read = [torch.cat([x, _rms(p, gain)]) for x, p in zip(read, positions, strict=True)]
            deltas = sublayer(config, part, read)
            resid = [_cut(config, after, x + delta) for x, delta in zip(resid, deltas, strict=True)]
    logits = []
    for token, x in zip(tokens, resid, strict=True):
        row = weights["lm_head.weight"] @ _rms(x, weights["transformer.ln_f.weight"])
        row = row + weights.get("final_logits_bias", 0)
        if config.get("enable_bigram_table"):
            row = row + weights["bigram_table"][token]
        logits.append(row)
    return torch.stack(logits)


def _attention(config: dict[str, Any], part: State, read: list[Tensor]) -> list[Tensor]:
    read = [_cut(config, "attn_in", x) for x in read]
    together = [_linear(part, "attn.c_attn", x) for x in read]
    width = len(together[0]) // 3
    queries = [_cut(config, "attn_q", x[:width]) for x in together]
    keys = [_cut(config, "attn_k", x[width : 2 * width]) for x in together]
    values = [_cut(config, "attn_v", x[2 * width :]) for x in together]
    size = width // config["n_head"]
    deltas = []
    for at in range(len(read)):
        mixed = torch.zeros(width, dtype=torch.float64)
        for head in range(config["n_head"]):
            channels = slice(head * size, (head + 1) * size)
            scores = [
                math.exp(float(queries[at][channels] @ keys[to][channels]) / math.sqrt(size))
                for to in range(at + 1)
            ]
            total = sum(scores)
            if config.get("sink"):
                total += math.exp(float(part["attn.attn_imp.sink_logit"][head]))
            for to, score in enumerate(scores):
                mixed[channels] += score / total * values[to][channels]
        deltas.append(_cut(config, "attn_out", _linear(part, "attn.c_proj", mixed)))
    return deltas


def _mlp(config: dict[str, Any], part: State, read: list[Tensor]) -> list[Tensor]:
    deltas = []
    for x in read:
        hidden = _linear(part, "mlp.c_fc", _cut(config, "mlp_in", x))
        if config.get("activation_type", "gelu") == "relu":
            hidden = hidden.clamp(min=0)
        else:
            hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        neurons = _cut(config, "mlp_neuron", hidden)
        deltas.append(_cut(config, "mlp_out", _linear(part, "mlp.c_proj", neurons)))
    return deltas


def _linear(part: State, name: str, x: Tensor) -> Tensor:
    y = part[f"{name}.weight"] @ x
    return y + part[f"{name}.bias"] if f"{name}.bias" in part else y


def _rms(x: Tensor, gain: Tensor) -> Tensor:
    return x / (x.square().mean() + torch.finfo(torch.float32).eps).sqrt() * gain


def _cut(config: dict[str, Any], place: str, x: Tensor) -> Tensor:
    """The largest magnitudes alone, where the configuration says so."""
    share = config.get("afrac")
    if share is None or place not in config.get("afrac_loctypes", "").split(","):
        return x
    kept = sorted(range(len(x)), key=lambda i: -abs(float(x[i])))[: int(share * len(x))]
    cut = torch.zeros_like(x)
    cut[kept] = x[kept]
    return cut


def _sinusoids(length: int, width: int) -> Tensor:
    half = width // 2
    periods = torch.logspace(math.log10(4), math.log10(length), half)
    angles = torch.arange(length).unsqueeze(1) * 2 * math.pi / periods  # [length, half]
    return torch.cat([angles.sin(), angles.cos()], dim=1)
