"""One training run from configuration to a model directory."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from pytest_circuits.model import (
    ModelConfig,
    SparseGPT,
    Tokenizer,
    load_model,
    measure,
    save_model,
    save_reference,
    train_tokenizer,
)
from pytest_circuits.progress import reporting
from pytest_circuits.train.card import HELD_OUT, REFERENCE_WINDOWS, Trained, model_card
from pytest_circuits.train.corpus import END_OF_TEXT, generated_documents, standard_library
from pytest_circuits.train.data import Mixture, stream
from pytest_circuits.train.loop import initialise, train
from pytest_circuits.train.sparsity import nonzeros

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from pytest_circuits.train.config import TrainConfig

# Which windows the reference and the held-out losses take, whatever the seed of the run.
_REFERENCE_SEED, _HELD_OUT_SEED = 1, 2


@dataclass(frozen=True, slots=True)
class Corpus:
    """Tokenised text, and the tokenizer that was learnt on it."""

    tokenizer: Tokenizer
    training: Mixture
    held_out: Mixture


def build_corpus(config: TrainConfig) -> Corpus:
    """Collect the text, learn the tokenizer on it, and split off held-out documents."""
    library = standard_library()[: config.data.library_modules]
    generated = generated_documents(seed=config.seed, count=config.data.generated_documents)
    tokenizer = train_tokenizer(
        [*library, *generated], vocab_size=config.data.vocab_size, special=(END_OF_TEXT,)
    )

    def mixture(*, held_out: bool) -> Mixture:
        from_library, from_generated = (
            [text for i, text in enumerate(texts) if (i % HELD_OUT == 0) is held_out]
            for texts in (library, generated)
        )
        return Mixture(
            stream(from_library, tokenizer),
            stream(from_generated, tokenizer),
            config.data.generated_share,
        )

    return Corpus(tokenizer, mixture(held_out=False), mixture(held_out=True))


def run(config: TrainConfig, out: Path, *, command: str) -> Trained:
    """Train a model and write its directory, which appears whole or not at all."""
    with reporting("corpus", 1) as reporter:
        corpus = build_corpus(config)
        reporter.at(1, f"{len(corpus.training.library):,} library tokens")
    module = SparseGPT(
        ModelConfig(vocab_size=corpus.tokenizer.vocab_size, **config.shape.model_dump())
    )
    initialise(module, seed=config.seed)
    length = config.shape.max_tokens

    def batches(step: int) -> Tensor:
        return corpus.training.rows(
            seed=config.seed, step=step, count=config.batch, length=length + 1
        )

    recent: list[float] = []
    with reporting("training", config.steps) as reporter:
        for step in train(module, config, batches):
            recent = [*recent[-99:], step.loss]
            detail = f"loss {np.mean(recent):.3f}  density {step.density:.4f}  lr {step.lr:.1e}"
            reporter.at(step.step + 1, detail)
    trained = Trained(
        tokens=config.steps * config.batch * length,
        final_loss=float(np.mean(recent)),
        library_loss=_loss(module, corpus.held_out, share=0.0, length=length),
        generated_loss=_loss(module, corpus.held_out, share=1.0, length=length),
        nonzeros=nonzeros(module),
    )
    card = model_card(config, trained, name=out.name, command=command)
    with _whole(out) as folder:
        save_model(folder, module=module, tokenizer=corpus.tokenizer, card=card)
        _measure_reference(folder, corpus.training, length=length)
    return trained


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its place at the end; an interruption removes it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as parent:
        folder = Path(parent) / out.name
        yield folder
        if out.exists():
            out.rmdir()  # it is empty
        folder.rename(out)


def _measure_reference(folder: Path, mixture: Mixture, *, length: int) -> None:
    model = load_model(folder)
    text = mixture.rows(seed=_REFERENCE_SEED, step=0, count=REFERENCE_WINDOWS, length=length)
    with reporting("reference", len(text)) as reporter:
        reference = measure(model.module, text, model_digest=model.digest, progress=reporter.at)
    save_reference(model, reference)


@torch.inference_mode()
def _loss(module: SparseGPT, mixture: Mixture, *, share: float, length: int) -> float:
    source = Mixture(mixture.library, mixture.generated, share)
    rows = source.rows(seed=_HELD_OUT_SEED, step=0, count=512, length=length + 1)
    total = 0.0
    for chunk in torch.split(rows, 64):
        logits = module(chunk[:, :-1])
        total += float(F.cross_entropy(logits.flatten(0, 1), chunk[:, 1:].flatten())) * len(chunk)
    return total / len(rows)
