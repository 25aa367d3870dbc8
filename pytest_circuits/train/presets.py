"""Recipes by name: what a configuration holds where its file is silent.

`tiny` is for trying the trainer, `small` is the recipe of `models/tinypython` but for its text. The
`paper-*` ones are those of Gao et al. 2025 (A.1, A.2, A.6 and the released script) at the widths
256, 512 and 1,024 of its Figure 3, all with 1.8 million nonzero weights; they need a GPU and a
corpus of billions of tokens.
"""

from __future__ import annotations

from typing import Any

Values = dict[str, Any]


def _paper(expansion: int) -> Values:
    """Width 256 * expansion; pfrac 1/4: block density pfrac / expansion^2, embeddings denser."""
    width = 256 * expansion
    return {
        "steps": 244_140,
        "batch": 512,
        "precision": "bfloat16",
        "data": {"tokenizer": {"vocab_size": 2048}},
        "shape": {
            "n_layer": 8,
            "d_model": width,
            "d_head": 16,
            "d_mlp": 4 * width,
            "max_tokens": 256,
            "sinks": False,
        },
        "sparsity": {
            "density": 0.25 / expansion**2,
            "embedding_density": 0.25 / expansion,
            "min_per_neuron": 4,
        },
        "optimizer": {"lr": 1.28e-2, "eps": 0.1, "normalise": "rms", "sharkfin": True},
        "checkpoints": {"every": 2000},
    }


PRESETS: dict[str, Values] = {
    "tiny": {
        "steps": 400,
        "data": {"tokenizer": {"vocab_size": 512}},
        "shape": {"n_layer": 1, "d_model": 64, "d_head": 16, "d_mlp": 256, "max_tokens": 32},
        "sparsity": {"density": 0.1},
        "checkpoints": {"every": 100},
    },
    "small": {
        "steps": 8800,
        "batch": 32,
        "data": {"tokenizer": {"vocab_size": 1024}},
        "shape": {"n_layer": 2, "d_model": 256, "d_head": 16, "d_mlp": 1024, "max_tokens": 64},
        "sparsity": {"density": 0.0075, "embedding_density": 0.035, "min_per_neuron": 1},
        "optimizer": {"lr": 0.03, "eps": 0.1, "normalise": "rms", "sharkfin": True},
    },
    "paper-7m": _paper(1),
    "paper-30m": _paper(2),
    "paper-118m": _paper(4),
}


_UNITS = frozenset({"tokenizer"})  # mappings whose keys exclude each other


def merged(preset: Values, values: Values) -> Values:
    """What `values` says, and what the preset says where it is silent, at any depth."""
    result = dict(preset)
    for key, value in values.items():
        below = result.get(key)
        if isinstance(below, dict) and isinstance(value, dict) and key not in _UNITS:
            result[key] = merged(below, value)
        else:
            result[key] = value
    return result
