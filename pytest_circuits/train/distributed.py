"""One process or several: who works on which rows, and how the parts of a tensor come together.

Several processes are started by torchrun; DDP keeps the model in each of them, FSDP2 shares its
parameters out. Everything else in the trainer is written for whole tensors. One process alone does
without what FSDP2 takes to load (half a second).
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeGuard, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from pytest_circuits.errors import UsageError
from pytest_circuits.model.open import usable_device
from pytest_circuits.model.sparse.gpt import SparseGPT

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

T = TypeVar("T")

# Others wait while the main process tokenises a corpus; torchrun notices by itself when one dies.
_PATIENCE = timedelta(days=7)


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

    def first(self, work: Callable[[], T]) -> T | None:
        """What `work` gives in the main process, None in the others, which wait for it.

        Where it fails the main process raises its error, and the others end without a word.
        """
        if self.size == 1:
            return work()
        failed = torch.zeros(1, device=self.device)
        result = None
        try:
            result = work() if self.main else None
        except BaseException:
            failed += 1
            raise
        finally:
            distributed.all_reduce(failed)
        if failed.item():
            raise SystemExit(1)
        return result


@contextmanager
def joined(device: str | None) -> Iterator[World]:
    """The world that torchrun describes in the environment, or one process alone.

    Raises UsageError where the device cannot be used, or is one for all processes.
    """
    if not distributed.is_torchelastic_launched():
        yield World(torch.device(usable_device(device)))
        return
    name = _own_device(device)
    distributed.init_process_group("nccl" if name.startswith("cuda") else "gloo", timeout=_PATIENCE)
    try:
        yield World(torch.device(name), distributed.get_rank(), distributed.get_world_size())
    finally:
        # Whoever lets go of the group last waits for its thread. DDP does so with the lock of the
        # interpreter in hand, for which that thread may wait, so that it has to go first.
        gc.collect()
        distributed.destroy_process_group()


def _own_device(asked: str | None) -> str:
    """The device of this one of several processes: with CUDA, each has its own."""
    kind = asked or ("cuda" if torch.cuda.is_available() else "cpu")
    if kind not in {"cpu", "cuda"}:
        raise UsageError(f"device {asked!r} is one for all processes; take cpu or cuda")
    if kind == "cpu":
        return kind
    local, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if local >= there:
        raise UsageError(
            f"more processes than GPUs: {there} are here; start torchrun with --nproc-per-node "
            f"{there}"
        )
    torch.cuda.set_device(local)
    return f"cuda:{local}"


def parallel(model: SparseGPT, *, how: str, world: World) -> nn.Module:
    """The module to run for training: the model, or the model shared by several processes."""
    if world.size == 1:
        return model
    if how == "fsdp":
        from torch.distributed.device_mesh import init_device_mesh  # noqa: PLC0415  (see above)
        from torch.distributed.fsdp import fully_shard  # noqa: PLC0415  (see above)

        mesh = init_device_mesh(world.device.type, (world.size,))
        for attn, mlp in model.layers():
            fully_shard([attn, mlp], mesh=mesh)
        fully_shard(model, mesh=mesh)
        return model
    # Otherwise DDP lays its buckets out anew after the first step of a process, and a run that is
    # resumed adds gradients up in another order than one that is not.
    return DistributedDataParallel(model, find_unused_parameters=True)


def _is_shared(tensor: Tensor) -> TypeGuard[DTensor]:
    loaded = sys.modules.get("torch.distributed.tensor")
    return loaded is not None and isinstance(tensor, loaded.DTensor)


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor of which this process may hold a part; every process has to ask."""
    return tensor.full_tensor() if _is_shared(tensor) else tensor


def part_of(full: Tensor, like: Tensor) -> Tensor:
    """The part of a whole tensor that this process holds of `like`."""
    if not _is_shared(like):
        return full
    from torch.distributed.tensor import distribute_tensor  # noqa: PLC0415  (see above)

    return distribute_tensor(full, like.device_mesh, like.placements)


def multiply(tensor: Tensor, mask: Tensor) -> None:
    """Multiply in place by a mask of the whole tensor."""
    tensor.mul_(part_of(mask.to(tensor.dtype), tensor) if _is_shared(tensor) else mask)
