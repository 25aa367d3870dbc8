"""One training run from configuration to a model directory; it can be stopped at any moment."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from pytest_circuits.errors import StoppedError, UsageError
from pytest_circuits.files import whole_directory
from pytest_circuits.model import (
    ModelConfig,
    SparseGPT,
    load_model,
    measure,
    save_model,
    save_reference,
)
from pytest_circuits.progress import Reporter, reporting
from pytest_circuits.train.card import REFERENCE_WINDOWS, Trained, model_card
from pytest_circuits.train.checkpoints import Checkpoint, newest, save
from pytest_circuits.train.data import Corpus, prepare
from pytest_circuits.train.evaluation import Evaluator, Scores
from pytest_circuits.train.loop import Step, Trainer, initialise
from pytest_circuits.train.metrics import Metrics, recording

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_circuits.train.config import TrainConfig
    from pytest_circuits.train.distributed import World
    from pytest_circuits.train.run_folder import RunFolder
    from pytest_circuits.train.stopping import Stop

_REFERENCE_SEED = 1  # which windows the reference takes, whatever the seed of the run
_RECENT = 100  # steps whose mean loss is told


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

    def run(self, stop: Stop) -> Scores:
        """Train to the end; returns the scores there.

        Raises:
            StoppedError: a signal came; the state is saved.

        """
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
                if done % config.evaluation.every == 0 or done == config.steps:
                    scores = self._evaluate(done, reporter, metrics)
                if step.stop or done % config.checkpoints.every == 0 or done == config.steps:
                    self._save()
                if step.stop and done < config.steps:
                    raise StoppedError(
                        f"stopped by {stop.asked or 'another process'} after step {done:,} of "
                        f"{config.steps:,}; the state is saved, go on with --resume"
                    )
        return scores or self.evaluator.measure(self.trainer.model)

    def write(self, scores: Scores, *, command: str) -> None:
        """Write the model directory, which appears whole or not at all."""
        weights = {
            name.removeprefix("weights/"): tensor
            for name, tensor in self.trainer.tensors().items()
            if name.startswith("weights/")
        }
        if not self.world.main:
            return
        config, out = self.config, self.folder.out
        trained = Trained(
            final_loss=sum(self.recent) / max(len(self.recent), 1),
            scores=scores,
            sources=self.corpus.sources,
            vocab_size=self.corpus.tokenizer.vocab_size,
            threads=torch.get_num_threads(),
            processes=self.world.size,
            device=self.world.device.type,
        )
        module = new_module(config, self.corpus)
        module.load_state_dict(weights)
        card = model_card(config, trained, name=out.name, command=command)
        with whole_directory(out) as unfinished:
            save_model(unfinished, module=module, tokenizer=self.corpus.tokenizer, card=card)
            _measure_reference(unfinished, self.corpus, length=config.shape.max_tokens)

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
        if self.world.main:
            state = {"recent": list(self.recent), "corpus": self.corpus.digest}
            checkpoint = Checkpoint(step=self.trainer.done, tensors=tensors, state=state)
            save(self.folder.path, checkpoint, keep=self.config.checkpoints.keep)
        self.world.wait()


def prepared(config: TrainConfig, folder: RunFolder, world: World, *, base: Path) -> Job:
    """A job at its beginning, or at the newest checkpoint that its folder holds."""
    if world.main:
        prepare(config.data, folder.tokens, base=base, seed=config.seed)
    world.wait()
    corpus = prepare(config.data, folder.tokens, base=base, seed=config.seed)
    corpus.training.check(config.shape.max_tokens + 1)
    evaluator = Evaluator(config, corpus, base=base, device=world.device)
    module = new_module(config, corpus)
    initialise(module, seed=config.seed)
    trainer = Trainer(module, config, world)
    recent: deque[float] = deque(maxlen=_RECENT)
    with reporting("checkpoint", 1, quiet=not world.main) as reporter:
        found = newest(folder.path, say=reporter.say)
        if found is not None:
            _check_corpus(found.state, corpus, folder)
            trainer.restore(found.tensors, done=found.step)
            recent.extend(found.state["recent"])
            reporter.at(1, f"going on after step {found.step:,}")
    return Job(config, folder, world, corpus, trainer, evaluator, recent)


def new_module(config: TrainConfig, corpus: Corpus) -> SparseGPT:
    """A model of the configured shape, whose weights are still to be set."""
    return SparseGPT(
        ModelConfig(vocab_size=corpus.tokenizer.vocab_size, **config.shape.model_dump())
    )


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
            f"{folder.tokens}: not the text that the checkpoint was trained on; restore it, or "
            f"remove {folder.path} to start from nothing"
        )


def _measure_reference(folder: Path, corpus: Corpus, *, length: int) -> None:
    model = load_model(folder)
    text = corpus.training.rows(
        seed=_REFERENCE_SEED, step=0, count=REFERENCE_WINDOWS, length=length
    )
    with reporting("reference", len(text)) as reporter:
        reference = measure(model.module, text, model_digest=model.digest, progress=reporter.at)
    save_reference(model, reference)
