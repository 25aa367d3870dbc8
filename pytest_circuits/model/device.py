"""Where a model runs: the device that was asked for, or the best one that is there."""

from __future__ import annotations

import torch

from pytest_circuits.errors import UsageError


def usable_device(asked: str | None) -> str:
    """Name of a device that works; without a wish CUDA when it is there, else the CPU.

    Raises:
        UsageError: the device that was asked for cannot be used.

    """
    if asked is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.ones(1, device=asked).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(
            f"device {asked!r} cannot be used: {reason}; take cpu, cuda or cuda:1"
        ) from None
    return asked
