"""Everything that decides how a mask search goes on, apart from the masks themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pytest_circuits.circuit import Nodes
from pytest_circuits.prune.pool import together

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from pytest_circuits.prune.masks import MaskPlan, Masks
    from pytest_circuits.prune.pool import Drawn

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what AdamW remembers of a parameter


class Course:
    """Where K searches stand between two steps."""

    def __init__(self, masks: Masks, plan: MaskPlan) -> None:
        self._masks, self._plan = masks, plan
        self.done = 0
        self.optimizer = torch.optim.AdamW(
            list(masks.tau.values()), lr=plan.lr, betas=(0.9, 0.95), weight_decay=plan.weight_decay
        )
        seeds = (np.array([search.seed, 1], dtype=np.uint64) for search in masks.searches)
        self._draws = [np.random.Generator(np.random.Philox(key=seed)) for seed in seeds]
        device = masks.model.device
        self.pressure = torch.full((len(self._draws),), plan.pressure, device=device)
        self.smooth = torch.full_like(self.pressure, plan.target)  # running mean of the loss, [K]

    def prompts(self) -> Drawn:
        """Draw the prompts of the next step."""
        drawn = zip(self._masks.searches, self._draws, strict=True)
        return together([s.pool.draw(random, self._plan.pairs) for s, random in drawn])

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that the next steps depend on, as tensors and JSON."""
        masks = self._masks
        tensors = {"pressure": self.pressure, "smooth": self.smooth}
        for hook, tau in masks.tau.items():
            tensors |= {f"tau/{hook}": tau, f"history/{hook}": masks.history[hook]}
            moments = self.optimizer.state[tau]
            tensors |= {f"{name}/{hook}": moments[name] for name in _MOMENTS if name in moments}
        smallest = [None if nodes is None else dict(nodes.channels) for nodes in masks.smallest]
        return tensors, {"done": self.done, "smallest": smallest}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.done = rest["done"]
        self.pressure.copy_(tensors["pressure"])
        self.smooth.copy_(tensors["smooth"])
        for hook, tau in self._masks.tau.items():
            tau.copy_(tensors[f"tau/{hook}"])
            self._masks.history[hook].copy_(tensors[f"history/{hook}"])
            self.optimizer.state[tau] |= {
                name: tensors[f"{name}/{hook}"].to(tau.device if name != "step" else "cpu")
                for name in _MOMENTS
                if f"{name}/{hook}" in tensors
            }
        self._masks.smallest = [
            None if channels is None else Nodes.of(channels) for channels in rest["smallest"]
        ]
        for _ in range(self.done):  # the draws are where they were
            self.prompts()
