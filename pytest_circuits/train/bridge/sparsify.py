"""A dense model on its way to few weights: one step, and the state between two.

The sparse model learns to say what the dense one says (Kullback-Leibler divergence of its
predictions), not the text anew: what it knows is to be what that one knows. After every step the
smallest weights of every matrix go, as in `train.loop`; how many, the dual variable says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pytest_circuits.model.checkpoints import Checkpoint
from pytest_circuits.model.huggingface.adapter import HuggingFaceModel
from pytest_circuits.train.bridge.config import BridgeConfig
from pytest_circuits.train.bridge.dense import matrices_of
from pytest_circuits.train.bridge.dual import EVERY, Dual
from pytest_circuits.train.bridge.held_out import Measured, Text, divergence
from pytest_circuits.train.descent import Descent, warmed
from pytest_circuits.train.distributed import World
from pytest_circuits.train.sparsity import largest

_CONTROL_SEED = 2**32  # added to the seed: rows of held-out text that drive the dual variable


@dataclass(frozen=True, slots=True)
class Step:
    number: int  # 1 after the first one
    loss: float  # nats per token by which the predictions differ from the dense model's
    gradient_norm: float
    density: float  # of the matrices, after the step
    rise: float  # what the bound is about, nats per token of held-out text, running mean
    lr: float
    stop: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """The sparsest weights so far whose loss is within the bound."""

    step: int
    weights: int  # that are not zero, in the matrices
    measured: Measured
    tensors: Mapping[str, Tensor]


class Sparsifier:
    """The sparse model, and the dense one beside it; sparse after every step."""

    def __init__(
        self, dense: HuggingFaceModel, text: Text, config: BridgeConfig, *, bound: float
    ) -> None:
        self.dense, self.config = dense, config
        self.module = deepcopy(dense.module).requires_grad_(requires_grad=True)
        self.done = 0  # steps
        self.dual = Dual(bound, config.min_density, updates=max(config.steps // EVERY, 1))
        self.kept: Kept | None = None
        self._text = text
        self._parameters = dict(self.module.named_parameters())
        names = matrices_of(dense)
        self._matrices = [self._parameters[name] for name in names]
        world = World(dense.device)
        self._descent = Descent(self._parameters, decayed=names, plan=config.optimizer, world=world)

    @property
    def weights(self) -> int:
        """Of the matrices, that are not zero."""
        return sum(int(matrix.count_nonzero()) for matrix in self._matrices)

    @property
    def size(self) -> int:
        return sum(matrix.numel() for matrix in self._matrices)

    def step(self, *, asked_to_stop: Callable[[], bool]) -> Step:
        config, number = self.config, self.done + 1
        speed = warmed(number / config.steps, config.optimizer)
        lr = speed * config.optimizer.lr
        rows = self._rows("training", seed=config.seed)
        loss = self._unlike(rows)
        value, norm, stop = self._descent.down(loss, lr=lr, number=number, stop=asked_to_stop())
        self._project()
        if number % EVERY == 0:
            self.dual.update(*self._apart(), speed=speed)
        self.done, dual = number, self.dual
        return Step(number, value, norm, dual.density, dual.rise, lr, stop)

    def keep(self, measured: Measured, *, within: bool) -> None:
        """Keep the weights as they are, where they are within the bound and fewer than before."""
        count = self.weights
        if within and (self.kept is None or count < self.kept.weights):
            tensors = {name: p.detach().clone() for name, p in self._parameters.items()}
            self.kept = Kept(self.done, count, measured, tensors)

    def state(self) -> Checkpoint:
        """Everything that the next steps depend on."""
        tensors = self._descent.tensors()
        dual = self.dual
        state: dict[str, Any] = {
            "dual": {"density": dual.density, "above": dual.above, "apart": dual.apart}
        }
        if (kept := self.kept) is not None:
            tensors |= {f"kept/{name}": tensor for name, tensor in kept.tensors.items()}
            state["kept"] = {
                "step": kept.step,
                "weights": kept.weights,
                "measured": asdict(kept.measured),
            }
        return Checkpoint(self.done, tensors, state)

    def restore(self, found: Checkpoint) -> None:
        self.done = found.step
        self._descent.restore(found.tensors, done=found.step)
        self.dual = replace(self.dual, **found.state["dual"])
        if (kept := found.state.get("kept")) is not None:
            tensors = {name: found.tensors[f"kept/{name}"] for name in self._parameters}
            measured = Measured(**kept.pop("measured"))
            self.kept = Kept(tensors=tensors, measured=measured, **kept)

    def _rows(self, split: str, *, seed: int) -> Tensor:
        config = self.config
        return self._text.rows(
            split, seed=seed, step=self.done, count=config.batch, length=config.max_tokens + 1
        )

    def _unlike(self, rows: Tensor) -> Tensor:
        """How far the predictions are from the dense model's, nats per token."""
        with torch.no_grad():
            dense = self._text.logits(self.dense.module, rows)
        return divergence(self._text.logits(self.module, rows), dense)

    @torch.no_grad()
    def _apart(self) -> tuple[float, float]:
        """The loss above the dense model's, and the divergence, on rows of held-out text."""
        rows = self._rows("held_out", seed=self.config.seed + _CONTROL_SEED)
        dense, found = (self._text.logits(m, rows) for m in (self.dense.module, self.module))
        above = self._text.loss(found, rows) - self._text.loss(dense, rows)
        return float(above), float(divergence(found, dense))

    @torch.no_grad()
    def _project(self) -> None:
        if self.dual.density < 1:
            for matrix in self._matrices:
                matrix.mul_(largest(matrix, self.dual.density))
