"""The state of a run, and one step of it: forward, normalise, Adam, hard top-k.

Gao et al. 2025, A.2. Gradients and moments stay dense: a weight that the projection zeroed goes on
to receive gradient and may come back. The state has no hidden part: weights, moments and the number
of steps done are all of it, because every batch is a function of (seed, step).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import cos, isfinite, pi, sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pytest_circuits.errors import CircuitsError
from pytest_circuits.model.sparse.gpt import SparseGPT
from pytest_circuits.train.config import TrainConfig
from pytest_circuits.train.distributed import World, parallel, part_of, whole
from pytest_circuits.train.sparsity import density_at, is_sparse_matrix, project

_MOMENTS = ("exp_avg", "exp_avg_sq")


class DivergedError(CircuitsError):
    """The loss is no longer a number."""


@dataclass(frozen=True, slots=True)
class Step:
    number: int  # 1 after the first one
    loss: float  # nats per token, mean over the batch
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
    plan = config.optimizer
    if progress < plan.warmup:
        shape = progress / plan.warmup
    else:
        done = (progress - plan.warmup) / max(1 - plan.warmup, 1e-9)
        shape = {"linear": 1 - done, "cosine": (1 + cos(pi * done)) / 2, "none": 1.0}[plan.decay]
    if plan.sharkfin:
        shape *= sqrt(config.sparsity.density / density_at(progress, config.sparsity))
    return plan.lr * shape


class Trainer:
    """A model in training; sparse after every step."""

    def __init__(self, model: SparseGPT, config: TrainConfig, world: World) -> None:
        self.config, self.world = config, world
        self.model = model.to(world.device)
        self.done = 0  # steps
        self._module = parallel(self.model, how=config.parallel, world=world)
        # FSDP puts new parameters in place of the model's.
        self._parameters = dict(self.model.named_parameters())
        self._optimizer = _adam(self._parameters, config)

    def step(self, rows: Tensor, *, asked_to_stop: Callable[[], bool] = lambda: False) -> Step:
        """One step on a batch of all processes, [batch, max_tokens + 1] token ids."""
        config, number = self.config, self.done + 1
        progress = number / config.steps
        lr = learning_rate(progress, config)
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        self._optimizer.zero_grad(set_to_none=True)
        mine = self.world.share(rows)
        loss = self._loss(mine)
        loss.backward()  # type: ignore[no-untyped-call]
        value, stop = self.world.agree(loss, stop=asked_to_stop())
        norm = _normalise(list(self._parameters.values()), how=config.optimizer.normalise)
        if not isfinite(value) or not isfinite(norm):
            raise DivergedError(
                f"the loss is {value} and the norm of the gradient {norm} at step {number}; lower "
                "optimizer.lr or raise optimizer.warmup"
            )
        self._optimizer.step()
        project(self.model, config.sparsity, progress=progress)
        self.done = number
        density = density_at(progress, config.sparsity)
        return Step(number, value, norm, density, lr, stop)

    def weights(self) -> dict[str, Tensor]:
        """The weights as whole tensors on the CPU, in the main process; every process has to ask.

        One tensor after the other is put together, so that no device has to hold them all.
        """
        return self._gathered((name, p.detach()) for name, p in self._parameters.items())

    def tensors(self) -> dict[str, Tensor]:
        """All of the state, in the same way."""
        moments = (
            (f"{moment}/{name}", self._optimizer.state[parameter][moment])
            for name, parameter in self._parameters.items()
            for moment in _MOMENTS
        )
        weights = {f"weights/{name}": tensor for name, tensor in self.weights().items()}
        return weights | self._gathered(moments)

    def _gathered(self, parts: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
        found = {}
        for name, part in parts:
            full = whole(part)
            if self.world.main:
                found[name] = full.cpu()
        return found

    def restore(self, tensors: Mapping[str, Tensor], *, done: int) -> None:
        """Take up the state of a run after `done` steps."""
        self.done = done
        for name, parameter in self._parameters.items():
            with torch.no_grad():
                full = tensors[f"weights/{name}"].to(self.world.device)
                parameter.copy_(part_of(full, parameter))
            self._optimizer.state[parameter] = {
                "step": torch.tensor(float(done), device=self.world.device)
            } | {
                moment: part_of(tensors[f"{moment}/{name}"].to(self.world.device), parameter)
                for moment in _MOMENTS
            }

    def _loss(self, rows: Tensor) -> Tensor:
        """Next-token cross-entropy in nats, mean over all positions of this process's rows."""
        low = self.config.precision == "bfloat16"
        with torch.autocast(self.world.device.type, torch.bfloat16, enabled=low):
            logits = self._module(rows[:, :-1])  # [N, T, V]
        return F.cross_entropy(logits.float().flatten(0, 1), rows[:, 1:].flatten())


def _adam(parameters: dict[str, nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
    """Adam; the weight decay is decoupled, before the step, and of the sparse matrices alone.

    The released script decays after its top-k, which is the same up to the order.
    """
    plan = config.optimizer
    decayed = [p for name, p in parameters.items() if is_sparse_matrix(name, p)]
    plain = [p for name, p in parameters.items() if not is_sparse_matrix(name, p)]
    return torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": plan.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ],
        lr=plan.lr,
        betas=plan.betas,
        eps=plan.eps,
        fused=True,
    )


def _normalise(parameters: list[nn.Parameter], *, how: str) -> float:
    """Bring the gradients to scale, in place; returns the norm that they had together.

    `clip`: norm at most 1. `rms`: divided by their root mean square plus 1e-5, as the released
    script always does (the paper's text clips it to 1).
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = float(whole(torch.nn.utils.get_total_norm(gradients)))
    if how == "clip":
        factor = min(1.0, 1.0 / (norm + 1e-6))
    else:
        factor = 1.0 / (norm / sqrt(sum(g.numel() for g in gradients)) + 1e-5)
    if factor != 1.0:
        torch._foreach_mul_(gradients, factor)
    return norm
