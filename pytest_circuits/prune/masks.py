"""Learn which nodes a behavior needs: one mask a node, binary in every forward.

Gao et al. 2025, appendix A.5: a real parameter tau a node, mask Heaviside(tau) with the derivative
of a sigmoid as its surrogate gradient, mean ablation of what is masked out, tau clamped to [-1, 1].
The pressure towards few nodes is a dual variable that holds the loss at its target, so that one
setting serves every behavior; a fixed pressure collapses the mask or leaves it large.

The complement runs beside the circuit in the same forward. What it still tells apart counts as
loss, so that nodes on parallel paths are drawn into the circuit and not left as a backup.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor

    from pytest_circuits.circuit.encoding import Batch
    from pytest_circuits.model import Model
    from pytest_circuits.model.gpt import Hook


@dataclass(frozen=True, slots=True)
class MaskPlan:
    """Settings of one mask search; the defaults are meant to serve every behavior."""

    steps: int = 800
    pairs: int = 32  # contrast pairs of one step
    lr: float = 1e-2
    weight_decay: float = 1e-3
    target: float = 0.07  # nats, loss that the dual variable holds
    backup_weight: float = 0.05  # loss per nat that the complement separates pairs by, in the
    # mean and again for the pair that it separates most
    pressure: float = 1e-3  # first value of the dual variable, nats per node
    gain: float = 0.03  # speed of the dual variable
    seed: int = 0


@dataclass(frozen=True, slots=True)
class MaskStep:
    """What happened in one step of the search."""

    step: int
    task_loss: float  # nats, of the circuit
    separation: float  # nats, by which the complement still tells pairs apart
    nodes: int
    pressure: float


class Masks:
    """The parameters of the search, one per node, and their history."""

    def __init__(self, model: Model, *, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.tau = {
            hook: (0.1 + 0.01 * torch.randn(width, generator=generator))
            .to(model.device)
            .requires_grad_()
            for hook, width in model.hook_points.items()
        }
        self.history = {hook: torch.zeros_like(tau.detach()) for hook, tau in self.tau.items()}

    def ranked(self) -> list[tuple[str, int]]:
        """All nodes, most wanted first: by tau, then by its mean over the search, then by name."""
        order = [
            (-tau[i], -past[i], position, i, hook)
            for position, (hook, tau, past) in enumerate(self._values())
            for i in range(len(tau))
        ]
        return [(hook, i) for _, _, _, i, hook in sorted(order)]

    def _values(self) -> Iterator[tuple[str, list[float], list[float]]]:
        for hook, tau in self.tau.items():
            yield hook, tau.detach().tolist(), self.history[hook].tolist()

    def count_on(self) -> int:
        """Nodes whose mask is on."""
        return sum(int((tau >= 0).sum()) for tau in self.tau.values())


def learn(
    model: Model,
    fill: Mapping[str, Tensor],
    batches: Callable[[int], Batch],
    plan: MaskPlan,
    masks: Masks,
) -> Iterator[MaskStep]:
    """Search in place, yielding after every step.

    batches: step -> both members of `plan.pairs` contrast pairs, the members of a pair in turn.
    """
    parameters = list(masks.tau.values())
    optimizer = torch.optim.AdamW(
        parameters, lr=plan.lr, betas=(0.9, 0.95), weight_decay=plan.weight_decay
    )
    pressure, smooth = plan.pressure, plan.target
    for step in range(plan.steps):
        for group in optimizer.param_groups:
            group["lr"] = plan.lr * (1 - step / plan.steps)
        on = {hook: _heaviside(tau) for hook, tau in masks.tau.items()}
        task_loss, separation = _losses(model, fill, batches(step), on)
        nodes = sum(mask.sum() for mask in on.values())
        left = F.relu(separation)
        loss = task_loss + plan.backup_weight * (left.mean() + left.max())
        optimizer.zero_grad(set_to_none=True)
        (loss + pressure * nodes).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        _clamp(masks, steps=plan.steps)
        smooth += 0.1 * (loss.item() - smooth)
        pressure *= exp(plan.gain * max(min((plan.target - smooth) / plan.target, 1.0), -3.0))
        yield MaskStep(step, task_loss.item(), separation.mean().item(), int(nodes), pressure)


def _losses(
    model: Model, fill: Mapping[str, Tensor], batch: Batch, on: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """Task loss of the circuit (a scalar) and the complement's separation of every pair [pairs]."""
    sides = {hook: torch.stack([mask, 1 - mask]) for hook, mask in on.items()}
    rows, last = batch.tokens.repeat(2, 1), batch.last.repeat(2)
    logits: Tensor = model.module(rows, _soft(sides, fill), at=last)
    preferences = batch.preferences(logits.view(2, -1, logits.shape[-1]))  # [2, B, 2]
    margins = preferences[..., 0] - preferences[..., 1]  # [2, B]
    return F.softplus(-margins[0]).mean(), margins[1].view(-1, 2).mean(-1)


def _soft(sides: Mapping[str, Tensor], fill: Mapping[str, Tensor]) -> Hook:
    """Mix activation and fill by masks [K, D], so that both sides of a mask get gradients."""

    def hook(name: str, x: Tensor) -> Tensor:
        mask = sides[name][:, None, None, :]
        constant = fill[name].to(x)
        by_side = x.view(len(mask), -1, *x.shape[1:])  # [K, B, T, D]
        return (constant + mask * (by_side - constant)).flatten(0, 1)

    return hook


def _heaviside(tau: Tensor) -> Tensor:
    """1 where tau >= 0, else 0; in the backward pass a sigmoid of temperature 1."""
    soft = tau.sigmoid()
    return (tau >= 0).float() + soft - soft.detach()


@torch.no_grad()
def _clamp(masks: Masks, *, steps: int) -> None:
    for hook, tau in masks.tau.items():
        tau.clamp_(-1, 1)
        masks.history[hook] += tau / steps
