"""One training run from configuration to a model directory; it can be stopped at any moment."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pytest_circuits.errors import StoppedError, UsageError
from pytest_circuits.model.checkpoints import Checkpoint, newest, save
from pytest_circuits.model.reference_file import measure_reference
from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.model.sparse.config import ModelConfig
from pytest_circuits.model.sparse.directory import load_sparse_model, save_model
from pytest_circuits.model.sparse.gpt import SparseGPT
from pytest_circuits.model.tokenizer import load_tokenizer
from pytest_circuits.system.files import whole_directory
from pytest_circuits.system.progress import Reporter, reporting
from pytest_circuits.system.sources import source_digest
from pytest_circuits.system.stopping import Stop
from pytest_circuits.train.card import REFERENCE_WINDOWS, Trained, model_card
from pytest_circuits.train.config import TrainConfig
from pytest_circuits.train.data.corpus import Corpus, prepare
from pytest_circuits.train.distributed import World
from pytest_circuits.train.evaluation import Evaluator, Scores, behaviors
from pytest_circuits.train.loop import Step, Trainer, initialise
from pytest_circuits.train.metrics import Metrics, recording
from pytest_circuits.train.run_folder import RunFolder

ROOMS = ("train", "compile", "circuit", "model", "prompts", "spec", "system", "errors")  # at work
_REFERENCE_SEED = 1  # which windows the reference takes, whatever the seed of the run
_RECENT = 100  # steps whose mean loss is told
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
        with (
            reporting("training", config.steps, quiet=not self.world.main) as reporter,
            recording(
                self.folder.path if self.world.main else None,
                after=self.trainer.done,
                tensorboard=config.metrics.tensorboard,
            ) as metrics,
        ):
            pace = _Pace(self.trainer.done, config)
            scores = None
            for number in range(self.trainer.done, config.steps):
                step = self.trainer.step(
                    self._rows(number), asked_to_stop=lambda: stop.asked is not None
                )
                self.recent.append(step.loss)
                done = step.number
                reporter.at(done, self._detail(step, pace))
                if done % config.metrics.every == 0 or done == config.steps:
                    metrics.add(done, _figures(step, pace.tokens_per_second(done)))
                if step.stop and done < config.steps:
                    self._save()
                    raise StoppedError(
                        f"stopped by {stop.asked or 'another process'} after step {done:,} of "
                        f"{config.steps:,}; the state is saved, go on with --resume"
                    )
                if done % config.evaluation.every == 0 or done == config.steps:
                    scores = self._evaluate(done, reporter, metrics)
                if done % config.checkpoints.every == 0 or done == config.steps:
                    self._save()
        return scores or self.evaluator.measure(self.trainer.model)

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

    def _rows(self, step: int) -> torch.Tensor:
        config = self.config
        return self.corpus.training.rows(
            seed=config.seed, step=step, count=config.batch, length=config.shape.max_tokens + 1
        )

    def _detail(self, step: Step, pace: _Pace) -> str:
        loss = sum(self.recent) / len(self.recent)
        return (
            f"loss {loss:.3f}  density {step.density:.4f}  lr {step.lr:.1e}  "
            f"{pace.tokens_per_second(step.number):,.0f} tokens/s"
        )

    def _evaluate(self, done: int, reporter: Reporter, metrics: Metrics) -> Scores:
        scores = self.evaluator.measure(self.trainer.model)
        losses = "  ".join(f"{name} {loss:.3f}" for name, loss in scores.losses.items())
        told = f"step {done:,}: held-out loss {losses}"
        if scores.accuracies:
            worst = min(scores.accuracies, key=scores.accuracies.__getitem__)
            good = sum(accuracy >= 0.98 for accuracy in scores.accuracies.values())
            told += (
                f"; {good} of {len(scores.accuracies)} behaviors at 98 %, the worst is {worst} "
                f"at {scores.accuracies[worst]:.1%}"
            )
        reporter.say(told)
        metrics.add(done, scores.as_json())
        return scores

    def _save(self) -> None:
        tensors = self.trainer.tensors()
        state = {"recent": list(self.recent), "corpus": self.corpus.digest, **_circumstances()}
        checkpoint = Checkpoint(step=self.trainer.done, tensors=tensors, state=state)
        keep = self.config.checkpoints.keep
        self.world.first(lambda: save(self.folder.path, checkpoint, keep=keep))


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

    # What is wrong there is said before an hour of tokenising, as far as it can be known.
    known = None if folder.tokens.exists() else config.data.tokenizer.file
    behaviors(config, base, None if known is None else load_tokenizer(base / known))
    corpus = world.first(tokenised) or tokenised()
    corpus.training.check(config.shape.max_tokens + 1)
    _check_bigram(config, corpus)
    evaluator = Evaluator(config, corpus, base=base, device=world.device)
    module = _begun(config, corpus, start)
    trainer = Trainer(module, config, world)
    recent: deque[float] = deque(maxlen=_RECENT)
    with reporting("checkpoint", 1, quiet=not world.main) as reporter:
        found = newest(folder.path, say=reporter.say)
        if found is not None:
            _check_corpus(found.state, corpus, folder)
            trainer.restore(found.tensors, done=found.step)
            recent.extend(found.state["recent"])
            reporter.at(1, f"going on after step {found.step:,}")
            for what, now in _circumstances().items():
                if (then := found.state.get(what)) != now:
                    reporter.say(f"{what} was {then} and is {now}: the weights may differ in bits")
    parent = start.digest if start else None
    return Job(config, folder, world, corpus, trainer, evaluator, recent, parent)


def _circumstances() -> dict[str, str | int]:
    """What, besides the configuration, decides the last bits of a sum."""
    return {
        "code": source_digest(*ROOMS)[:12],
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
    }


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


class _Pace:
    """Tokens a second since this process began."""

    def __init__(self, first: int, config: TrainConfig) -> None:
        self._first, self._start = first, time.monotonic()
        self._tokens = config.batch * config.shape.max_tokens  # of a step

    def tokens_per_second(self, done: int) -> float:
        return (done - self._first) * self._tokens / max(time.monotonic() - self._start, 1e-9)


def _figures(step: Step, tokens_per_second: float) -> dict[str, float]:
    return {
        "loss": step.loss,
        "gradient_norm": step.gradient_norm,
        "density": step.density,
        "lr": step.lr,
        "tokens_per_second": round(tokens_per_second, 1),
    }


def _check_corpus(state: Mapping[str, Any], corpus: Corpus, folder: RunFolder) -> None:
    if state.get("corpus") != corpus.digest:
        raise UsageError(
            f"{folder.tokens}: not the text that the checkpoint was trained on; restore the "
            f"sources and remove {folder.tokens}, or remove {folder.path} to start from nothing"
        )
