"""The state of a run, and one step of it: forward, normalise, Adam, hard top-k.

Gao et al. 2025, A.2. Gradients and moments stay dense: a weight that the projection zeroed goes on
to receive gradient and may come back. The state has no hidden part: weights, moments and the number
of steps done are all of it, because every batch is a function of (seed, step).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor
from torch.nn import functional as F

from pytest_circuits.model.sparse.gpt import Access, SparseGPT
from pytest_circuits.train.config import TrainConfig
from pytest_circuits.train.descent import Descent, warmed
from pytest_circuits.train.distributed import World, parallel
from pytest_circuits.train.pairs import PairLoss
from pytest_circuits.train.sparsity import density_at, is_sparse_matrix, project


@dataclass(frozen=True, slots=True)
class Step:
    number: int  # 1 after the first one
    loss: float  # nats per token of the text, mean over the batch
    gradient_norm: float  # of all gradients together, before they are normalised
    density: float  # of the block matrices, after the step
    lr: float
    stop: bool  # whether any process was asked to stop


def initialise(model: SparseGPT, *, seed: int) -> None:
    """N(0, 0.02) weights, output projections scaled by 1/sqrt(2 n_layer), zero biases (A.1).

    The bigram table starts at zero; the released script draws it from U[0, 0.02).
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if name == "bigram" or parameter.dim() != 2:
            if name.endswith("bias"):
                torch.nn.init.zeros_(parameter)
            continue
        residual_write = name.endswith(("out.weight", "down.weight"))
        scale = 0.02 / sqrt(2 * model.config.n_layer) if residual_write else 0.02
        torch.nn.init.normal_(parameter, std=scale, generator=generator)


def learning_rate(progress: float, config: TrainConfig) -> float:
    """Linear warm-up, then decay to zero, times the sharkfin factor if it is on.

    progress: share of the run, above 0 and up to 1. The factor is sqrt(final density / density): 1
    at the end, small while the model is dense.
    """
    shape = warmed(progress, config.optimizer)
    if config.optimizer.sharkfin:
        shape *= sqrt(config.sparsity.density / density_at(progress, config.sparsity))
    return config.optimizer.lr * shape


class Trainer:
    """A model in training; sparse after every step."""

    def __init__(
        self,
        model: SparseGPT,
        config: TrainConfig,
        world: World,
        pairs: PairLoss | None = None,
    ) -> None:
        """pairs: what is learnt beside the text; the work of one process."""
        self.config, self.world, self._pairs = config, world, pairs
        self.model = model.to(world.device)
        self.done = 0  # steps
        self._module = parallel(self.model, how=config.parallel, world=world)
        # FSDP puts new parameters in place of the model's.
        parameters = dict(self.model.named_parameters())
        sparse = [name for name, p in parameters.items() if is_sparse_matrix(name, p)]
        self._descent = Descent(parameters, decayed=sparse, plan=config.optimizer, world=world)

    def step(self, rows: Tensor, *, asked_to_stop: Callable[[], bool] = lambda: False) -> Step:
        """One step on a batch of all processes, [batch, max_tokens + 1] token ids."""
        config, number = self.config, self.done + 1
        progress = number / config.steps
        lr = learning_rate(progress, config)
        loss, of_pairs = self._losses(self.world.share(rows), progress)
        total = loss if of_pairs is None else loss + of_pairs
        value, norm, stop = self._descent.down(total, lr=lr, number=number, stop=asked_to_stop())
        if of_pairs is not None:
            value = float(loss.detach())
        project(self.model, config.sparsity, progress=progress)
        self.done = number
        density = density_at(progress, config.sparsity)
        return Step(number, value, norm, density, lr, stop)

    def weights(self) -> dict[str, Tensor]:
        """The weights as whole tensors on the CPU, in the main process; every process asks."""
        return self._descent.weights()

    def tensors(self) -> dict[str, Tensor]:
        """All of the state, in the same way."""
        return self._descent.tensors()

    def restore(self, tensors: Mapping[str, Tensor], *, done: int) -> None:
        """Take up the state of a run after `done` steps."""
        self.done = done
        self._descent.restore(tensors, done=done)

    def _losses(self, rows: Tensor, progress: float) -> tuple[Tensor, Tensor | None]:
        """Of the text and of the pairs, where some are learnt.

        Next-token cross-entropy in nats, mean over all positions of this process's rows.
        """
        low = self.config.precision == "bfloat16"
        means: dict[str, Tensor] = {}  # [width] by site

        def average(name: str, x: Tensor) -> Tensor:
            means[name] = x.detach().float().mean((0, 1))
            return x

        seen = () if self._pairs is None else (Access(average),)
        with torch.autocast(self.world.device.type, torch.bfloat16, enabled=low):
            logits = self._module(rows[:, :-1], *seen)  # [N, T, V]
        loss = F.cross_entropy(logits.float().flatten(0, 1), rows[:, 1:].flatten())
        if self._pairs is None:
            return loss, None
        return loss, self._pairs.of(self.model, means, step=self.done, progress=progress)
