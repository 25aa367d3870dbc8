"""From a directory to a model on a device: by the adapter that knows what lies there.

Adapters of installed packages come first, by entry points of the group `pytest_circuits.models`,
then that of transformers. That of the weight-sparse GPT is asked last: it says what a directory
lacks.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

import torch

from pytest_circuits.errors import ModelError, UsageError
from pytest_circuits.model.arithmetic import own_arithmetic
from pytest_circuits.model.huggingface import directory as huggingface
from pytest_circuits.model.protocol import Model
from pytest_circuits.model.sparse.directory import load_sparse_model

GROUP = "pytest_circuits.models"


class Adapter(Protocol):
    """What makes a model of a directory."""

    def recognises(self, path: Path) -> bool:
        """Say whether a directory is one of its own, by names and small files alone."""

    def load(self, path: Path, *, device: torch.device) -> Model:
        """Load it; ModelError says which file is wrong and how.

        Files are to be read by `system.files.read_bounded`, so that reports name what was read.
        """


@own_arithmetic()
def load_model(path: Path, *, device: str | torch.device = "cpu") -> Model:
    """Load a model directory; ModelError says which file is wrong and how."""
    for name, adapter in _adapters().items():
        if adapter.recognises(path):
            model = adapter.load(path, device=torch.device(device))
            check_sites(model, f"{path}: the model adapter {name!r}")
            return model
    if huggingface.recognises(path):
        return huggingface.load(path, device=torch.device(device))
    return load_sparse_model(path, device=device)


def _adapters() -> dict[str, Adapter]:
    found = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            found[entry.name] = entry.load()
        except Exception as error:  # whatever a stranger's module raises
            raise ModelError(
                f"the model adapter {entry.name!r} ({entry.value}) cannot be loaded: {error}"
            ) from error
    return found


def check_sites(model: Model, who: str) -> None:
    """Refuse a model that could not be gated: one without sites, or with a site of no width."""
    empty = [site for site, its in model.sites.items() if its.width < 1 or its.channels < 1]
    if empty or not model.sites:
        what = f"the site {empty[0]!r} without channels" if empty else "no site at which nodes live"
        raise ModelError(f"{who} shows {what}")


def usable_device(asked: str | None) -> str:
    """Name of a device that works; without a wish CUDA when it is there, else the CPU.

    Raises UsageError where the one that was asked for cannot be used.
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
