"""The model card of a trained model: how it was made, and what was measured."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import safetensors
import tokenizers
import torch

import pytest_circuits

if TYPE_CHECKING:
    from pytest_circuits.train.config import TrainConfig

HELD_OUT = 64  # every so manyth document is not trained on
REFERENCE_WINDOWS = 1024


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run measured, for the model card."""

    tokens: int
    final_loss: float  # nats per token, mean of the last 100 steps on the mixture
    library_loss: float  # nats per token, held-out standard library
    generated_loss: float  # nats per token, held-out generated lines
    nonzeros: dict[str, int]


def model_card(config: TrainConfig, trained: Trained, *, name: str, command: str) -> str:
    """Return the README.md of a model directory."""
    facts = "\n".join(f"| {what} | {value} |" for what, value in _facts(config, trained, command))
    counts = "\n".join(f"| `{name}` | {count:,} |" for name, count in trained.nonzeros.items())
    return f"""# {name}

A weight-sparse transformer in the sense of Gao et al. 2025, "Weight-sparse transformers have
interpretable circuits", trained by pytest-circuits. It is made to have small circuits, not to write
good Python.

| | |
|---|---|
{facts}

| weight matrix | nonzeros |
|---|---|
{counts}
"""


def _facts(config: TrainConfig, trained: Trained, command: str) -> list[tuple[str, str]]:
    shape, sparsity, data = config.shape, config.sparsity, config.data
    architecture = (
        f"{shape.n_layer} layers, d_model {shape.d_model}, heads of {shape.d_head}, "
        f"{shape.d_mlp} neurons a layer ({shape.activation}), AbsTopK "
        f"{shape.activation_share} at the eight hook points, sinks {_on(shape.sinks)}, bigram "
        f"table {_on(shape.bigram)}, no positions, {shape.max_tokens} tokens of context"
    )
    text = (
        f"the standard library of Python {platform.python_version()} without its tests, and "
        f"{data.generated_documents:,} documents of generated statements "
        f"(`pytest_circuits/train/lines.py`), {data.generated_share:.0%} of the rows of a batch; "
        f"every {HELD_OUT}th document is held out"
    )
    losses = (
        f"{trained.final_loss:.3f} on the mixture over the last 100 steps, "
        f"{trained.library_loss:.3f} on held-out library text, "
        f"{trained.generated_loss:.3f} on held-out generated text"
    )
    weights = (
        f"{sum(trained.nonzeros.values()):,} outside the dense bigram table, biases and gains "
        f"(block matrices {sparsity.density:.2%}, embeddings {sparsity.embedding_density:.0%})"
    )
    reference = (
        f"mean activations over {REFERENCE_WINDOWS:,} windows of {shape.max_tokens} tokens of the "
        "training mixture"
    )
    versions = (
        f"pytest-circuits {pytest_circuits.__version__}, torch {torch.__version__.split('+')[0]}, "
        f"tokenizers {tokenizers.__version__}, safetensors {safetensors.__version__}, numpy "
        f"{np.__version__}; another interpreter has another standard library, and so gives "
        "another model"
    )
    tokens = f"{trained.tokens:,} tokens in {config.steps:,} steps of {config.batch} rows"
    return [
        ("command", f"`{command}`"),
        ("seed", f"{config.seed}"),
        ("architecture", architecture),
        ("data", text),
        ("tokenizer", f"byte-level BPE learnt on the same text, {data.vocab_size:,} tokens"),
        ("training", tokens),
        ("loss, nats per token", losses),
        ("nonzero weights", weights),
        ("reference", reference),
        ("made with", versions),
    ]


def _on(switch: object) -> str:
    return "on" if switch else "off"
