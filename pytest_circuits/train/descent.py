"""Adam on gradients that were brought to scale, with a state that can be saved and taken up.

Everything is about whole tensors: of several processes each holds its part, see `distributed`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from math import cos, isfinite, pi, sqrt

import torch
from torch import Tensor, nn

from pytest_circuits.errors import CircuitsError
from pytest_circuits.train.config import Optimizer
from pytest_circuits.train.distributed import World, part_of, whole

_MOMENTS = ("exp_avg", "exp_avg_sq")


class DivergedError(CircuitsError):
    """The loss is no longer a number."""


def warmed(progress: float, plan: Optimizer) -> float:
    """Share of the learning rate: linear warm-up, then decay to zero.

    progress: share of the run, above 0 and up to 1.
    """
    if progress < plan.warmup:
        return progress / plan.warmup
    done = (progress - plan.warmup) / max(1 - plan.warmup, 1e-9)
    return {"linear": 1 - done, "cosine": (1 + cos(pi * done)) / 2, "none": 1.0}[plan.decay]


class Descent:
    """Parameters on their way down; the weight decay of those named is decoupled, before the step.

    The released script decays after its top-k, which is the same up to the order.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        *,
        decayed: Collection[str],
        plan: Optimizer,
        world: World,
    ) -> None:
        self._parameters, self._plan, self._world = parameters, plan, world
        heavy = [p for name, p in parameters.items() if name in decayed]
        plain = [p for name, p in parameters.items() if name not in decayed]
        self._optimizer = torch.optim.AdamW(
            [
                {"params": heavy, "weight_decay": plan.weight_decay},
                {"params": plain, "weight_decay": 0.0},
            ],
            lr=plan.lr,
            betas=plan.betas,
            eps=plan.eps,
            fused=True,
        )

    def down(
        self, loss: Tensor, *, lr: float, number: int, stop: bool
    ) -> tuple[float, float, bool]:
        """One step down the gradient of this process's loss.

        Returns the loss and whether to stop, as all processes have them, and the norm of the
        gradient before it was brought to scale.
        """
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        loss.backward()  # type: ignore[no-untyped-call]
        value, stop = self._world.agree(loss, stop=stop)
        norm = _normalise(list(self._parameters.values()), how=self._plan.normalise)
        if not isfinite(value) or not isfinite(norm):
            raise DivergedError(
                f"the loss is {value} and the norm of the gradient {norm} at step {number}; lower "
                "optimizer.lr or raise optimizer.warmup"
            )
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)  # the next forward has their room
        return value, norm, stop

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
            if self._world.main:
                found[name] = full.cpu()
        return found

    def restore(self, tensors: Mapping[str, Tensor], *, done: int) -> None:
        """Take up the state of a run after `done` steps."""
        device = self._world.device
        for name, parameter in self._parameters.items():
            with torch.no_grad():
                full = tensors[f"weights/{name}"].to(device)
                parameter.copy_(part_of(full, parameter))
            self._optimizer.state[parameter] = {
                "step": torch.tensor(float(done), device=device)
            } | {
                moment: part_of(tensors[f"{moment}/{name}"].to(device), parameter)
                for moment in _MOMENTS
            }


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
