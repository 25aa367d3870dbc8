"""The course of a training: step after step, measured and saved on its way, until it is stopped."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from pytest_circuits.errors import StoppedError, UsageError
from pytest_circuits.model.checkpoints import Checkpoint, newest
from pytest_circuits.system.progress import reporting
from pytest_circuits.system.sources import source_digest
from pytest_circuits.system.stopping import Stop
from pytest_circuits.train.config import Checkpoints, Interval, Metrics
from pytest_circuits.train.data.corpus import Corpus
from pytest_circuits.train.metrics import recording
from pytest_circuits.train.run_folder import RunFolder

ROOMS = ("train", "compile", "circuit", "model", "prompts", "spec", "system", "errors")  # at work
_RECENT = 100  # steps whose mean loss is told


class Taken(Protocol):
    """What is known of a step that was taken."""

    @property
    def number(self) -> int:
        """1 after the first one."""

    @property
    def loss(self) -> float:
        """Nats per token, mean over the batch."""

    @property
    def stop(self) -> bool:
        """Whether any process was asked to stop."""


S = TypeVar("S", bound=Taken)
M = TypeVar("M")  # what is measured on the way and at the end


class Work(Protocol[S, M]):
    """A training, as its course sees it."""

    @property
    def done(self) -> int:
        """Steps."""

    def step(self, *, asked_to_stop: Callable[[], bool]) -> S:
        """Take the next step."""

    def told(self, step: S) -> str:
        """A few words about a step, for the progress line."""

    def figures(self, step: S) -> dict[str, float]:
        """What is kept of a step."""

    def measure(self) -> M:
        """Measure where it stands."""

    def summary(self, measured: M) -> tuple[str, dict[str, Any]]:
        """What was measured: one line, and what is kept of it."""

    def save(self) -> None:
        """Write a checkpoint."""


class Pace(Protocol):
    """How long a training is, and how often something is done on its way."""

    @property
    def steps(self) -> int: ...
    @property
    def checkpoints(self) -> Checkpoints: ...
    @property
    def metrics(self) -> Metrics: ...


def follow(
    work: Work[S, M],
    plan: Pace,
    stop: Stop,
    *,
    about: str,
    folder: Path | None,
    measured_every: Interval,
    recent: deque[float],
    tokens: int,
) -> M | None:
    """Train to the end; returns what was measured there, None where there was nothing to do.

    folder: of the run; None: this process neither reports nor writes. recent: losses of the last
    steps. tokens: of a step. Raises StoppedError when a signal came, with all saved.
    """
    with (
        reporting(about, plan.steps, quiet=folder is None) as reporter,
        recording(folder, after=work.done, tensorboard=plan.metrics.tensorboard) as metrics,
    ):
        first, start, measured = work.done, time.monotonic(), None
        while work.done < plan.steps:
            step = work.step(asked_to_stop=lambda: stop.asked is not None)
            recent.append(step.loss)
            done, last = step.number, step.number == plan.steps
            pace = (done - first) * tokens / max(time.monotonic() - start, 1e-9)
            loss = sum(recent) / len(recent)
            reporter.at(done, f"loss {loss:.3f}  {work.told(step)}  {pace:,.0f} tokens/s")
            if done % plan.metrics.every == 0 or last:
                metrics.add(done, work.figures(step) | {"tokens_per_second": round(pace, 1)})
            if step.stop and not last:
                work.save()
                raise StoppedError(
                    f"stopped by {stop.asked or 'another process'} after step {done:,} of "
                    f"{plan.steps:,}; the state is saved, go on with --resume"
                )
            if done % measured_every == 0 or last:
                measured = work.measure()
                line, kept = work.summary(measured)
                reporter.say(f"step {done:,}: {line}")
                metrics.add(done, kept)
            if done % plan.checkpoints.every == 0 or last:
                work.save()
    return measured


def recent_losses() -> deque[float]:
    return deque(maxlen=_RECENT)


def state_of(corpus: Corpus, recent: deque[float]) -> dict[str, Any]:
    """The part of the state of a training that is no tensor."""
    return {"recent": list(recent), "corpus": corpus.digest, **_circumstances()}


def taken_up(
    folder: RunFolder,
    corpus: Corpus,
    restore: Callable[[Checkpoint], None],
    *,
    quiet: bool,
) -> None:
    """Take up the newest checkpoint of a run, where there is one.

    Raises UsageError where it was trained on another text.
    """
    with reporting("checkpoint", 1, quiet=quiet) as reporter:
        found = newest(folder.path, say=reporter.say)
        if found is None:
            return
        _check_corpus(found.state, corpus, folder)
        restore(found)
        reporter.at(1, f"going on after step {found.step:,}")
        for what, now in _circumstances().items():
            if (then := found.state.get(what)) != now:
                reporter.say(f"{what} was {then} and is {now}: the weights may differ in bits")


def _circumstances() -> dict[str, str | int]:
    """What, besides the configuration, decides the last bits of a sum."""
    return {
        "code": source_digest(*ROOMS)[:12],
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
    }


def _check_corpus(state: Mapping[str, Any], corpus: Corpus, folder: RunFolder) -> None:
    if state.get("corpus") != corpus.digest:
        raise UsageError(
            f"{folder.tokens}: not the text that the checkpoint was trained on; restore the "
            f"sources and remove {folder.tokens}, or remove {folder.path} to start from nothing"
        )
