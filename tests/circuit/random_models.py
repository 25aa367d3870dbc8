"""Small models with random sparse weights, in every variant of the architecture, and circuits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from pytest_circuits.circuit.edges import Edges, live_edges
from pytest_circuits.circuit.nodes import Nodes, all_nodes
from pytest_circuits.circuit.random_circuits import random_circuits
from pytest_circuits.model.protocol import Model, widths_of
from pytest_circuits.model.reference import Reference, measure
from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.model.sparse.config import ModelConfig
from pytest_circuits.model.sparse.gpt import SparseGPT
from pytest_circuits.model.tokenizer import train_tokenizer

CPU = torch.device("cpu")
SHAPE: dict[str, Any] = {"n_layer": 2, "d_model": 24, "d_head": 4, "d_mlp": 40, "max_tokens": 16}
EVERYWHERE = {
    **dict.fromkeys(("attn.act_in", "attn.q", "attn.k", "attn.v", "attn.resid_delta"), 0.5),
    **dict.fromkeys(("mlp.act_in", "mlp.post_act", "mlp.resid_delta"), 0.4),
    **dict.fromkeys(("attn.resid", "mlp.resid"), 0.6),
}
VARIANTS: dict[str, dict[str, Any]] = {
    "as trained": {},
    "relu": {"activation": "relu"},
    "no cut": {"activation_share": 1.0},
    "no sinks": {"sinks": False},
    "no sinks, no cut": {"sinks": False, "activation_share": 1.0},
    "no bigram": {"bigram": False},
    "nearly all cut": {"activation_share": 0.05},
    "little cut": {"activation_share": 0.9},
    "another share at each point": {"activation_shares": {"attn.q": 1.0, "mlp.post_act": 0.6}},
    "the stream cut too": {"activation_shares": EVERYWHERE},
    "positions added": {"positions": "added"},
    "positions concatenated": {"positions": "concatenated", "d_positions": 6},
    "concatenated, no cut": {
        "positions": "concatenated",
        "d_positions": 6,
        "activation_share": 1.0,
    },
    "heads wider than the stream": {"n_head": 9},
    "four layers": {"n_layer": 4},
}


def random_model(**changes: Any) -> tuple[SparseModel, Reference]:  # noqa: ANN401  (of the config)
    """Weights as sparse as those of trained models, and no two magnitudes that tie by design."""
    tokenizer = train_tokenizer(["a b c"], vocab_size=260, special=())
    config = ModelConfig(vocab_size=tokenizer.vocab_size, **{**SHAPE, **changes})
    generator = torch.Generator().manual_seed(7)
    module = SparseGPT(config)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator) * 0.5
            dense = parameter.dim() < 2 or "bigram" in name or "positions" in name
            alive = torch.rand(parameter.shape, generator=generator) < (1.0 if dense else 0.25)
            parameter.copy_(drawn * alive + ("norm" in name))
    module.requires_grad_(requires_grad=False).eval()
    tokens = torch.randint(config.vocab_size, (16, config.max_tokens), generator=generator)
    model = SparseModel(Path(), config, tokenizer, module, "none", CPU)
    return model, measure(model, tokens)


def some_circuits(model: Model, reference: Reference) -> list[Nodes]:
    """The empty circuit, the full one, full ones with gaps, and random ones of several sizes."""
    widths = widths_of(model)
    gaps = ("act_in", ".q", ".k", ".v", "attn", "post_act", "resid_delta", "0.", "final")
    shapes = [
        Nodes.of({hook: range(max(1, int(share * width))) for hook, width in widths.items()})
        for share in (0.03, 0.1, 0.3, 0.7)
    ]
    return [
        Nodes(()),
        all_nodes(model),
        *(Nodes.of({h: range(w) for h, w in widths.items() if gap not in h}) for gap in gaps),
        *(
            drawn
            for seed, shape in enumerate(shapes)
            for drawn in random_circuits(shape, model, reference, count=3, seed=seed)
        ),
    ]


def some_edges(nodes: Nodes, model: Model, *, share: float, seed: int) -> Edges:
    rng = np.random.default_rng(seed)
    everything = live_edges(nodes, model)
    return Edges.of(
        {ends: [p for p in pairs if rng.random() < share] for ends, pairs in everything.pairs}
    )
