"""What a model in training is worth: held-out text, behaviors, and what of it is alive.

Held-out windows and prompts are the same at every evaluation and for every seed of the run, so that
the figures of two runs can be compared. It runs in float32, in every process of a run alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pytest_circuits.circuit.encoding import Encoder
from pytest_circuits.model.sparse.gpt import Access, SparseGPT
from pytest_circuits.prompts.space import Prompt, prompts_of
from pytest_circuits.train.behaviors import Tokens, behaviors
from pytest_circuits.train.config import TrainConfig
from pytest_circuits.train.data.corpus import Corpus
from pytest_circuits.train.sparsity import nonzeros

_HELD_OUT_SEED = 2
_ROWS = 64  # of a forward


@dataclass(frozen=True, slots=True)
class Scores:
    losses: Mapping[str, float]  # nats per token of held-out text, by source
    bits_per_byte: Mapping[str, float]  # the same, per byte of UTF-8
    accuracies: Mapping[str, float]  # share of prompts whose answer leads, by behavior
    nonzeros: Mapping[str, int]  # by sparse matrix
    dead_neurons: Mapping[str, int]  # MLP neurons that no held-out token lets through, by layer

    def as_json(self) -> dict[str, Any]:
        return {
            "held_out_loss": dict(self.losses),
            "bits_per_byte": dict(self.bits_per_byte),
            "accuracy": dict(self.accuracies),
            "nonzeros": dict(self.nonzeros),
            "dead_neurons": dict(self.dead_neurons),
        }


class Evaluator:
    def __init__(
        self, config: TrainConfig, corpus: Corpus, *, base: Path, device: torch.device
    ) -> None:
        reader = Tokens(corpus.tokenizer, config.shape.max_tokens, device)
        self._encoder = Encoder(reader)
        self._prompts = {
            name: prompts_of(pairs)
            for name, pairs in behaviors(config, base, corpus.tokenizer).items()
        }
        length = config.shape.max_tokens + 1
        drawn = windows_of(corpus, count=config.evaluation.windows, length=length)
        self._windows = {name: rows.to(device) for name, rows in drawn.items()}
        self._bits = {
            source.name: source.held_out_tokens / source.held_out_bytes / log(2)
            for source in corpus.sources
        }

    @torch.no_grad()
    def measure(self, model: SparseGPT) -> Scores:
        """Evaluate a model; every process of a run has to ask."""
        alive = _Alive()
        losses = {
            name: sum(_losses(model, rows, alive) for rows in torch.split(windows, _ROWS))
            / len(windows)
            for name, windows in self._windows.items()
        }
        return Scores(
            losses=losses,
            bits_per_byte={name: loss * self._bits[name] for name, loss in losses.items()},
            accuracies={
                name: self._accuracy(model, prompts) for name, prompts in self._prompts.items()
            },
            nonzeros=nonzeros(model),
            dead_neurons=alive.dead(),
        )

    def _accuracy(self, model: SparseGPT, prompts: list[Prompt]) -> float:
        right = 0
        for indexes in self._encoder.groups(prompts, rows=_ROWS):
            batch = self._encoder.batch([prompts[i] for i in indexes], rows=len(indexes))
            logits = model(batch.tokens, at=batch.last).unsqueeze(0)  # [1, B, V]
            answer, foil = batch.preferences(logits)[0].unbind(-1)
            right += int((answer > foil).sum())
        return right / len(prompts)


def windows_of(corpus: Corpus, *, count: int, length: int) -> dict[str, Tensor]:
    """So many windows of held-out text of every source, [count, length] ids by its name.

    Raises UsageError where a source is too short.
    """
    corpus.held_out.check(length)
    return {
        source.name: corpus.held_out.only(source.name).rows(
            seed=_HELD_OUT_SEED, step=0, count=count, length=length
        )
        for source in corpus.sources
    }


class _Alive:
    """A hook that remembers which MLP neurons were ever let through by AbsTopK."""

    def __init__(self) -> None:
        self._seen: dict[str, Tensor] = {}

    def __call__(self, name: str, x: Tensor) -> Tensor:
        if name.endswith("mlp.post_act"):
            seen = (x != 0).flatten(0, 1).any(0)
            self._seen[name] = seen | self._seen.get(name, seen)
        return x

    def dead(self) -> dict[str, int]:
        return {name.partition(".")[0]: int((~seen).sum()) for name, seen in self._seen.items()}


def _losses(model: SparseGPT, rows: Tensor, alive: _Alive) -> float:
    """Sum over rows [N, T + 1] of the mean loss of a row, in nats per token."""
    logits = model(rows[:, :-1], Access(alive))
    return float(F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())) * len(rows)
