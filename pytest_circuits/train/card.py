"""The model card of a trained model: how it was made, and what was measured."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import safetensors
import tokenizers
import torch

import pytest_circuits
from pytest_circuits.train.config import Pairs, TrainConfig
from pytest_circuits.train.data.corpus import SourceFacts
from pytest_circuits.train.evaluation import Scores

REFERENCE_WINDOWS = 1024
_ABOUT = """\
A weight-sparse transformer in the sense of Gao et al. 2025, "Weight-sparse transformers have
interpretable circuits", trained by pytest-circuits. It is made to have small circuits, not to write
good text."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run measured, for the model card."""

    final_loss: float  # nats per token, mean of the last 100 steps on the mixture
    scores: Scores
    sources: tuple[SourceFacts, ...]
    vocab_size: int
    threads: int
    processes: int
    device: str
    parent: str | None  # digest of the model that it started from


def model_card(config: TrainConfig, trained: Trained, *, name: str, command: str) -> str:
    parts = [
        f"# {name}",
        _ABOUT,
        table(("", ""), _facts(config, trained, command)),
        "Measured at the end, on text that was held out:",
        table(
            ("source", "share", "training tokens", "loss, nats", "bits per byte"),
            _source_rows(trained),
        ),
    ]
    if trained.scores.accuracies:
        rows = [(f"`{name}`", f"{share:.3f}") for name, share in trained.scores.accuracies.items()]
        parts += [
            "Share of a behavior's prompts at which the answer has a higher logit than the foil:",
            table(("behavior", "accuracy"), rows),
        ]
    counts = [(f"`{name}`", f"{count:,}") for name, count in trained.scores.nonzeros.items()]
    parts += [table(("weight matrix", "nonzeros"), counts)]
    return "\n\n".join(parts) + "\n"


def _facts(config: TrainConfig, trained: Trained, command: str) -> list[tuple[str, str]]:
    shape, sparsity, scores = config.shape, config.sparsity, trained.scores
    others = "".join(f", {x} at {point}" for point, x in sorted(shape.activation_shares.items()))
    tokens = config.steps * config.batch * shape.max_tokens
    dead = ", ".join(f"{n} in layer {layer}" for layer, n in scores.dead_neurons.items())
    learnt = ", byte-level BPE learnt on the same text" if not config.data.tokenizer.file else ""
    facts = {
        "command": f"`{command}`",
        "started from": f"`{config.start_from}`, sha256 {trained.parent}",
        "seed": f"{config.seed}",
        "architecture": (
            f"{shape.n_layer} layer{'s' * (shape.n_layer > 1)}, d_model {shape.d_model}, heads of "
            f"{shape.d_head}, {shape.d_mlp} neurons a layer ({shape.activation}), AbsTopK "
            f"{shape.activation_share} at the eight hook points{others}, sinks {_on(shape.sinks)}, "
            f"bigram table {_on(shape.bigram)}, positions {shape.positions}, {shape.max_tokens} "
            "tokens of context"
        ),
        "tokenizer": f"{trained.vocab_size:,} tokens{learnt}",
        "training": f"{tokens:,} tokens in {config.steps:,} steps of {config.batch} rows",
        "loss on the mixture": f"{trained.final_loss:.3f} nats per token over the last steps",
        "nonzero weights": (
            f"{sum(scores.nonzeros.values()):,} outside the dense bigram table, biases and gains "
            f"(block matrices {sparsity.density:.2%}, embeddings {sparsity.embedding_density:.2%})"
        ),
        "dead neurons": f"{dead}: no held-out token lets them through AbsTopK",
        "data": (
            "; ".join(f"{s.name}: {s.about}" for s in trained.sources)
            + f"; every {config.data.held_out}th document is held out"
        ),
        "pairs": _pairs(config.pairs),
        "reference": (
            f"mean activations over {REFERENCE_WINDOWS:,} windows of {shape.max_tokens} tokens of "
            "the training mixture"
        ),
        "made on": (
            f"{trained.processes} process{'es' * (trained.processes > 1)} on {trained.device}, "
            f"{trained.threads} thread{'s' * (trained.threads > 1)} each"
        ),
        "made with": versions(),
    }
    if trained.parent is None:
        del facts["started from"]
    if config.pairs is None:
        del facts["pairs"]
    return list(facts.items())


def _pairs(plan: Pairs | None) -> str:
    """What was learnt beside the text."""
    if plan is None:
        return ""
    files = ", ".join(f"`{pattern}`" for pattern in plan.behaviors)
    return (
        f"beside the text, prompts of {files}, {plan.pairs} pairs of {plan.drawn} behaviors a "
        f"step, their task loss {plan.task_weight} times; nodes that their answers hang on cost "
        f"up to {plan.cue_price} nats by the other prompt, {plan.text_price} by text at large, "
        f"half of it at {plan.small} nats of effect"
    )


def _source_rows(trained: Trained) -> list[tuple[str, ...]]:
    scores = trained.scores
    return [
        (
            f"`{source.name}`",
            f"{source.share:.0%}",
            f"{source.tokens:,}",
            f"{scores.losses[source.name]:.3f}",
            f"{scores.bits_per_byte[source.name]:.3f}",
        )
        for source in trained.sources
    ]


def versions(**others: str) -> str:
    """What made a model, one phrase; others: versions of further libraries."""
    more = "".join(f", {name} {version}" for name, version in others.items())
    return (
        f"pytest-circuits {pytest_circuits.__version__}, Python {platform.python_version()}, "
        f"torch {torch.__version__.split('+')[0]}, tokenizers {tokenizers.__version__}, "
        f"safetensors {safetensors.__version__}, numpy {np.__version__}{more}; the same weights "
        "bit for bit need the same versions, machine and threads"
    )


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _on(switch: object) -> str:
    return "on" if switch else "off"
