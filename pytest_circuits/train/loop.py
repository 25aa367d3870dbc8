"""The training loop: forward, normalise, Adam, hard top-k, decay (Gao et al. 2025, A.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from pytest_circuits.errors import CircuitsError
from pytest_circuits.train.sparsity import density_at, project

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pytest_circuits.model.gpt import SparseGPT
    from pytest_circuits.train.config import TrainConfig

Batches = Callable[[int], "Tensor"]  # step -> [batch, length + 1] token ids


class DivergedError(CircuitsError):
    """The loss is no longer a number."""


@dataclass(frozen=True, slots=True)
class Step:
    """What happened in one step."""

    step: int
    loss: float  # nats per token
    density: float  # of the block matrices
    lr: float


def initialise(model: SparseGPT, *, seed: int) -> None:
    """N(0, 0.02) weights, output projections scaled by 1/sqrt(2 n_layer), zero biases (A.1)."""
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
    """Linear warm-up, linear decay to zero, and the sharkfin factor if it is on (A.2)."""
    plan = config.optimizer
    if progress < plan.warmup:
        shape = progress / plan.warmup
    else:
        shape = 1 - (progress - plan.warmup) / max(1 - plan.warmup, 1e-9)
    if plan.sharkfin:
        final = config.sparsity.density
        shape *= sqrt(final / density_at(progress, final=final, plan=config.sparsity))
    return plan.lr * shape


def train(model: SparseGPT, config: TrainConfig, batches: Batches) -> Iterator[Step]:
    """Train in place, yielding after every step; the model is sparse at every yield."""
    decayed, plain = _groups(model)
    optimizer = torch.optim.Adam(
        [*decayed, *plain], lr=0.0, betas=config.optimizer.betas, eps=config.optimizer.eps
    )
    for step in range(config.steps):
        progress = (step + 1) / config.steps
        lr = learning_rate(progress, config)
        for group in optimizer.param_groups:
            group["lr"] = lr
        rows = batches(step)
        logits = model(rows[:, :-1])  # [N, T, V]
        loss = F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        value = loss.item()
        if not isfinite(value):
            raise DivergedError(
                f"the loss is {value} at step {step}; lower optimizer.lr or raise optimizer.warmup"
            )
        _normalise([*decayed, *plain], how=config.optimizer.normalise)
        optimizer.step()
        density = project(model, config.sparsity, progress=progress)
        with torch.no_grad():
            for parameter in decayed:
                parameter.mul_(1 - lr * config.optimizer.weight_decay)
        yield Step(step=step, loss=value, density=density, lr=lr)


def _groups(model: SparseGPT) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Matrices, which decay, and everything else (gains, biases, sinks, the bigram table)."""
    decayed = {name: p for name, p in model.named_parameters() if p.dim() == 2 and name != "bigram"}
    plain = [p for name, p in model.named_parameters() if name not in decayed]
    return list(decayed.values()), plain


def _normalise(parameters: list[nn.Parameter], *, how: str) -> None:
    if how == "clip":
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    rms = norm / sqrt(sum(g.numel() for g in gradients))
    torch._foreach_div_(gradients, float(rms) + 1e-5)
