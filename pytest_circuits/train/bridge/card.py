"""The model card of a model that was made sparse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import transformers

from pytest_circuits.model.huggingface.adapter import HuggingFaceModel
from pytest_circuits.train.bridge.config import BridgeConfig
from pytest_circuits.train.bridge.held_out import Measured
from pytest_circuits.train.bridge.sparsify import Kept
from pytest_circuits.train.card import table, versions
from pytest_circuits.train.data.corpus import SourceFacts

_ABOUT = """\
A dense model of transformers that pytest-circuits made weight-sparse: most weights of its layers
are zero, and its loss on held-out text is within a bound of the dense model's. It is made to have
smaller circuits; what it does beyond the text below was not measured. The licence of the dense
model holds."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a bridge measured, for the model card."""

    dense: HuggingFaceModel
    before: Measured
    kept: Kept
    size: int  # weights of the matrices, zeros too
    nonzeros: Mapping[str, tuple[int, int]]  # of each matrix, and how many entries it has
    sources: tuple[SourceFacts, ...]
    reference: str


def model_card(config: BridgeConfig, made: Made, *, name: str, command: str) -> str:
    kept, before, after = made.kept, made.before, made.kept.measured
    tokens = config.steps * config.batch * config.max_tokens
    most = f"; and a loss of at most {config.max_loss:g}" if config.max_loss else ""
    facts = {
        "command": f"`{command}`",
        "started from": (
            f"`{made.dense.path}` ({made.dense.description}), sha256 {made.dense.digest}"
        ),
        "seed": f"{config.seed}",
        "bound": (
            f"{config.max_rise:g} nats per token of held-out text: for the loss above the dense "
            f"model's, and for the divergence from its predictions{most}"
        ),
        "measured": (
            f"loss {after.loss - before.loss:+.4f}, divergence {after.divergence:.4f}, over all "
            "sources as they are mixed"
        ),
        "nonzero weights": (
            f"{kept.weights:,} of {made.size:,} in the matrices of the layers "
            f"({kept.weights / made.size:.2%}); embeddings, biases and norms are dense"
        ),
        "training": (
            f"{tokens:,} tokens in {config.steps:,} steps of {config.batch} rows, towards the "
            f"predictions of the dense model; the weights are those of step {kept.step:,}"
        ),
        "data": (
            "; ".join(f"{s.name}: {s.about}" for s in made.sources)
            + f"; every {config.data.held_out}th document is held out"
        ),
        "held out": (
            f"{config.evaluation.windows} windows of {config.max_tokens} tokens of each source; "
            "these chose the step, and other held-out rows drove the density"
        ),
        "reference": made.reference,
        "made on": f"{made.dense.device.type}, {torch.get_num_threads()} threads",
        "made with": versions(transformers=transformers.__version__),
    }
    rows = [
        (
            f"`{source.name}`",
            f"{source.share:.0%}",
            f"{source.tokens:,}",
            f"{before.losses[source.name]:.3f}",
            f"{after.losses[source.name]:.3f}",
        )
        for source in made.sources
    ]
    counts = [(f"`{name}`", f"{n:,}", f"{n / of:.2%}") for name, (n, of) in made.nonzeros.items()]
    return (
        "\n\n".join(
            [
                f"# {name}",
                _ABOUT,
                table(("", ""), facts.items()),
                "Loss on text that was held out, nats per token:",
                table(("source", "share", "training tokens", "dense", "sparse"), rows),
                table(("weight matrix", "nonzeros", "share"), counts),
            ]
        )
        + "\n"
    )
