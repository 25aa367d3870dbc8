"""The loss on text that is not trained on, of the dense model and of the sparse one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pytest_circuits.model.huggingface.adapter import HuggingFaceModel
from pytest_circuits.train.bridge.config import BridgeConfig
from pytest_circuits.train.data.corpus import Corpus
from pytest_circuits.train.evaluation import windows_of

_ROWS = 32  # of a forward


@dataclass(frozen=True, slots=True)
class Text:
    """Rows of a corpus as the model is given them: with what is put before every text."""

    corpus: Corpus
    prefix: tuple[int, ...]
    device: torch.device

    def rows(self, split: str, *, seed: int, step: int, count: int, length: int) -> Tensor:
        """[count, length] ids of one of the two splits, `training` or `held_out`."""
        mixture = self.corpus.training if split == "training" else self.corpus.held_out
        held = length - len(self.prefix)
        return self.begun(mixture.rows(seed=seed, step=step, count=count, length=held))

    def begun(self, rows: Tensor) -> Tensor:
        before = torch.tensor(self.prefix, dtype=rows.dtype).expand(len(rows), -1)
        return torch.cat([before, rows], dim=1).to(self.device)

    @property
    def first(self) -> int:
        """The first position whose next token is text."""
        return max(len(self.prefix) - 1, 0)

    def logits(self, module: Any, rows: Tensor) -> Tensor:  # noqa: ANN401  (of transformers)
        """Of the text of rows [N, T + 1]: [N, T, V]."""
        found: Tensor = module(input_ids=rows[:, :-1], use_cache=False).logits[:, self.first :]
        return found

    def loss(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Next-token cross-entropy in nats per token."""
        return F.cross_entropy(logits.flatten(0, 1), rows[:, self.first + 1 :].flatten())


def divergence(logits: Tensor, dense: Tensor) -> Tensor:
    """Kullback-Leibler divergence of predictions from the dense model's, nats per token.

    logits, dense: [N, T, V].
    """
    found, wanted = (x.log_softmax(-1).flatten(0, 1) for x in (logits, dense))
    return F.kl_div(found, wanted, reduction="batchmean", log_target=True)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a model is worth on held-out text, in nats per token."""

    losses: Mapping[str, float]  # by source
    loss: float  # of the sources as they are mixed in training
    divergence: float  # from the dense model's predictions, in the same way

    def rise(self, dense: Measured) -> float:
        """What is held within the bound: the loss above the dense model's, or the divergence.

        The larger of both: where the dense model does not know a text, others can lose less on it.
        """
        return max(self.loss - dense.loss, self.divergence)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Fixed windows of every source of a corpus."""

    text: Text
    module: Any  # the dense model
    windows: Mapping[str, Tensor]
    shares: Mapping[str, float]

    @torch.no_grad()
    def measure(self, module: Any) -> Measured:  # noqa: ANN401  (of transformers)
        losses = {name: self._means(module, rows) for name, rows in self.windows.items()}
        loss, apart = (sum(self.shares[n] * both[i] for n, both in losses.items()) for i in (0, 1))
        return Measured({name: both[0] for name, both in losses.items()}, loss, apart)

    def _means(self, module: Any, windows: Tensor) -> tuple[float, float]:  # noqa: ANN401
        """Loss and divergence of a source."""
        totals = [0.0, 0.0]
        for rows in torch.split(windows, _ROWS):
            found, dense = (self.text.logits(each, rows) for each in (module, self.module))
            for i, value in enumerate((self.text.loss(found, rows), divergence(found, dense))):
                totals[i] += len(rows) * float(value)
        return totals[0] / len(windows), totals[1] / len(windows)


def held_out(model: HuggingFaceModel, text: Text, config: BridgeConfig) -> HeldOut:
    length = config.max_tokens + 1 - len(text.prefix)
    drawn = windows_of(text.corpus, count=config.evaluation.windows, length=length)
    windows = {name: text.begun(rows) for name, rows in drawn.items()}
    return HeldOut(text, model.module, windows, {s.name: s.share for s in text.corpus.sources})
