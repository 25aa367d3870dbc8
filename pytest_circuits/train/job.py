"""One training run from configuration to a model directory; it can be stopped at any moment."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pytest_circuits.errors import UsageError
from pytest_circuits.model.checkpoints import Checkpoint, save
from pytest_circuits.model.reference_file import measure_reference
from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.model.sparse.config import ModelConfig
from pytest_circuits.model.sparse.directory import load_sparse_model, save_model
from pytest_circuits.model.sparse.gpt import SparseGPT
from pytest_circuits.model.tokenizer import load_tokenizer
from pytest_circuits.system.files import whole_directory
from pytest_circuits.system.stopping import Stop
from pytest_circuits.train.behaviors import behaviors, learnt
from pytest_circuits.train.card import REFERENCE_WINDOWS, Trained, model_card
from pytest_circuits.train.config import TrainConfig
from pytest_circuits.train.course import follow, recent_losses, state_of, taken_up
from pytest_circuits.train.data.corpus import Corpus, prepare
from pytest_circuits.train.distributed import World
from pytest_circuits.train.evaluation import Evaluator, Scores
from pytest_circuits.train.loop import Step, Trainer, initialise
from pytest_circuits.train.pairs import pair_loss
from pytest_circuits.train.run_folder import RunFolder

_REFERENCE_SEED = 1  # which windows the reference takes, whatever the seed of the run
_MOST_BIGRAM = 2**15  # vocabulary; the table is its square


@dataclass(slots=True)
class Job:
    """A run and all that it is made of; `recent` is the part of its state that is only told."""

    config: TrainConfig
    folder: RunFolder
    world: World
    corpus: Corpus
    trainer: Trainer
    evaluator: Evaluator
    recent: deque[float]
    parent: str | None  # digest of the model that it started from

    def run(self, stop: Stop) -> Scores:
        """Train to the end; returns the scores there. StoppedError: a signal came, all is saved."""
        config = self.config
        scores = follow(
            self,
            config,
            stop,
            about="training",
            folder=self.folder.path if self.world.main else None,
            measured_every=config.evaluation.every,
            recent=self.recent,
            tokens=config.batch * config.shape.max_tokens,
        )
        return scores or self.measure()

    @property
    def done(self) -> int:
        return self.trainer.done

    def step(self, *, asked_to_stop: Callable[[], bool]) -> Step:
        config = self.config
        rows = self.corpus.training.rows(
            seed=config.seed,
            step=self.trainer.done,
            count=config.batch,
            length=config.shape.max_tokens + 1,
        )
        return self.trainer.step(rows, asked_to_stop=asked_to_stop)

    def told(self, step: Step) -> str:
        return f"density {step.density:.4f}  lr {step.lr:.1e}"

    def figures(self, step: Step) -> dict[str, float]:
        return {
            "loss": step.loss,
            "gradient_norm": step.gradient_norm,
            "density": step.density,
            "lr": step.lr,
        }

    def measure(self) -> Scores:
        return self.evaluator.measure(self.trainer.model)

    def summary(self, measured: Scores) -> tuple[str, dict[str, Any]]:
        losses = "  ".join(f"{name} {loss:.3f}" for name, loss in measured.losses.items())
        told = f"held-out loss {losses}"
        if measured.accuracies:
            worst = min(measured.accuracies, key=measured.accuracies.__getitem__)
            good = sum(accuracy >= 0.98 for accuracy in measured.accuracies.values())
            told += (
                f"; {good} of {len(measured.accuracies)} behaviors at 98 %, the worst is {worst} "
                f"at {measured.accuracies[worst]:.1%}"
            )
        return told, measured.as_json()

    def save(self) -> None:
        tensors, state = self.trainer.tensors(), state_of(self.corpus, self.recent)
        checkpoint = Checkpoint(step=self.trainer.done, tensors=tensors, state=state)
        keep = self.config.checkpoints.keep
        self.world.first(lambda: save(self.folder.path, checkpoint, keep=keep))

    def write(self, scores: Scores, *, command: str) -> None:
        """Write the model directory, which appears whole or not at all."""
        weights = self.trainer.weights()
        # The others wait, so that none ends while the model is being written: torchrun would end
        # this process too if one of them ended in the wrong way.
        self.world.first(lambda: self._write(weights, scores, command=command))

    def _write(self, weights: dict[str, torch.Tensor], scores: Scores, *, command: str) -> None:
        config, out = self.config, self.folder.out
        trained = Trained(
            final_loss=sum(self.recent) / max(len(self.recent), 1),
            scores=scores,
            sources=self.corpus.sources,
            vocab_size=self.corpus.tokenizer.vocab_size,
            threads=torch.get_num_threads(),
            processes=self.world.size,
            device=self.world.device.type,
            parent=self.parent,
        )
        module = SparseGPT(self.trainer.model.config)
        module.load_state_dict(weights)
        card = model_card(config, trained, name=out.name, command=command)
        with whole_directory(out) as unfinished:
            words = self.corpus.tokenizer
            save_model(unfinished, module=module, tokenizer=words, card=card, parent=self.parent)
            model = load_sparse_model(unfinished, device=self.world.device)
            text = self.corpus.training.rows(
                seed=_REFERENCE_SEED,
                step=0,
                count=REFERENCE_WINDOWS,
                length=config.shape.max_tokens,
            )
            measure_reference(model, text)


def prepared(
    config: TrainConfig,
    folder: RunFolder,
    world: World,
    *,
    base: Path,
    start: SparseModel | None = None,
) -> Job:
    """A job at its beginning, or at the newest checkpoint that its folder holds.

    start: the model whose weights it begins with, instead of random ones.
    """

    def tokenised() -> Corpus:
        return prepare(config.data, folder.tokens, base=base)

    if config.pairs and world.size > 1:
        raise UsageError("pairs are learnt by one process; start it without torchrun")
    # What is wrong there is said before an hour of tokenising, as far as it can be known.
    known = None if folder.tokens.exists() else config.data.tokenizer.file
    words = None if known is None else load_tokenizer(base / known)
    for of in (behaviors, learnt):
        of(config, base, words)
    corpus = world.first(tokenised) or tokenised()
    corpus.training.check(config.shape.max_tokens + 1)
    _check_bigram(config, corpus)
    evaluator = Evaluator(config, corpus, base=base, device=world.device)
    module = _begun(config, corpus, start)
    pairs = pair_loss(config, corpus.tokenizer, base=base, device=world.device)
    trainer = Trainer(module, config, world, pairs)
    recent = recent_losses()

    def restore(found: Checkpoint) -> None:
        trainer.restore(found.tensors, done=found.step)
        recent.extend(found.state["recent"])

    taken_up(folder, corpus, restore, quiet=not world.main)
    parent = start.digest if start else None
    return Job(config, folder, world, corpus, trainer, evaluator, recent, parent)


def _check_bigram(config: TrainConfig, corpus: Corpus) -> None:
    size = corpus.tokenizer.vocab_size
    if config.shape.bigram and size > _MOST_BIGRAM:
        raise UsageError(
            f"the bigram table of a vocabulary of {size:,} takes {4 * size**2 / 2**30:.0f} GiB, "
            "and four times that in training; set shape.bigram: false or take a smaller vocabulary"
        )


def _begun(config: TrainConfig, corpus: Corpus, start: SparseModel | None) -> SparseGPT:
    """The model as it is before the first step."""
    if start is not None:
        module = SparseGPT(start.config)
        module.load_state_dict(start.module.state_dict())
        return module
    vocab_size = corpus.tokenizer.vocab_size
    module = SparseGPT(ModelConfig(vocab_size=vocab_size, **config.shape.model_dump()))
    initialise(module, seed=config.seed)
    return module
