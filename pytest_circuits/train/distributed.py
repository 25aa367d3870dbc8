"""One process or several: who works on which rows, and how the parts of a tensor come together.

Several processes are started by torchrun; DDP keeps the model in each of them, FSDP2 shares its
parameters out. Everything else in the trainer is written for whole tensors.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import distributed
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from pytest_circuits.errors import UsageError
from pytest_circuits.model import usable_device

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from pytest_circuits.model import SparseGPT


@dataclass(frozen=True, slots=True)
class World:
    """The processes of a run, and which of them this is."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes and reports."""
        return self.rank == 0

    def check(self, batch: int) -> None:
        """Raise UsageError when the rows of a batch cannot be shared out evenly."""
        if batch % self.size:
            raise UsageError(
                f"batch {batch} cannot be shared by {self.size} processes; take a multiple of it"
            )

    def share(self, rows: Tensor) -> Tensor:
        """The rows of a batch that this process works on, on its device."""
        each = len(rows) // self.size
        return rows[self.rank * each : (self.rank + 1) * each].to(self.device)

    def agree(self, loss: Tensor, *, stop: bool) -> tuple[float, bool]:
        """The mean loss of all processes, and whether any of them was asked to stop."""
        if self.size == 1:
            return loss.item(), stop
        told = torch.stack([loss.detach(), torch.tensor(float(stop), device=loss.device)])
        distributed.all_reduce(told)
        return told[0].item() / self.size, told[1].item() > 0

    def wait(self) -> None:
        """Go on when every process is here."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def joined(device: str | None) -> Iterator[World]:
    """The world that torchrun describes in the environment, or one process alone."""
    if "WORLD_SIZE" not in os.environ:
        yield World(torch.device(usable_device(device)))
        return
    name = usable_device(device)
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(name)
    distributed.init_process_group("nccl" if name.startswith("cuda") else "gloo")
    try:
        yield World(torch.device(name), distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def parallel(model: SparseGPT, *, how: str, world: World) -> nn.Module:
    """The module to run for training: the model, or the model shared by several processes."""
    if world.size == 1:
        return model
    if how == "fsdp":
        for attn, mlp in model.layers():
            fully_shard([attn, mlp])
        fully_shard(model)
        return model
    return DistributedDataParallel(model)


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor of which this process may hold a part; every process has to ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part_of(full: Tensor, like: Tensor) -> Tensor:
    """The part of a whole tensor that this process holds of `like`."""
    if not isinstance(like, DTensor):
        return full
    return distribute_tensor(full, like.device_mesh, like.placements)


def multiply(tensor: Tensor, mask: Tensor) -> None:
    """Multiply in place by a mask of the whole tensor."""
    tensor.mul_(part_of(mask.to(tensor.dtype), tensor) if isinstance(tensor, DTensor) else mask)
