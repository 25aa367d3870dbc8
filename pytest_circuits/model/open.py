"""From a directory to a model on a device: by the adapter that knows what lies there.

Adapters of installed packages come first, by entry points of the group `pytest_circuits.models`,
then that of transformers. That of the weight-sparse GPT is asked last: it says what a directory
lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

import torch

from pytest_circuits.errors import ModelError, SiteError, SpecError, UsageError
from pytest_circuits.model.arithmetic import own_arithmetic
from pytest_circuits.model.handed.directory import load_named
from pytest_circuits.model.huggingface import directory as huggingface
from pytest_circuits.model.protocol import Model
from pytest_circuits.model.sparse.directory import load_sparse_model
from pytest_circuits.spec.load import LoadedSpec
from pytest_circuits.spec.sites import NamedSites

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
def load_model(path: Path, *, device: str | torch.device = "cpu", sites: NamedSites = ()) -> Model:
    """Load a model directory; ModelError says which file is wrong and how.

    sites: where they are, of a model of transformers, in which they are searched for else.
    """
    for name, adapter in _adapters().items():
        if adapter.recognises(path):
            refuse_named(sites, path, f"is read by the model adapter {name!r}")
            model = adapter.load(path, device=torch.device(device))
            check_sites(model, f"{path}: the model adapter {name!r}")
            return model
    if huggingface.recognises(path):
        if sites:
            return load_named(path, device=torch.device(device), sites=dict(sites))
        return huggingface.load(path, device=torch.device(device))
    model = load_sparse_model(path, device=device)
    refuse_named(sites, path, "is a weight-sparse one")
    return model


def opener(
    device: str | torch.device = "cpu", *, most: int | None = None
) -> Callable[[LoadedSpec, Path], Model]:
    """What loads the model of a specification, in a directory, with the sites that it names.

    most: models that are kept at once; None: all of them. SpecError has the line of a site that a
    model does not have.
    """

    @lru_cache(most)
    def load(path: Path, sites: NamedSites) -> Model:
        return load_model(path, device=device, sites=sites)

    def opened(loaded: LoadedSpec, path: Path) -> Model:
        with at_its_sites(loaded):
            return load(path, loaded.spec.named)

    return opened


@contextmanager
def at_its_sites(loaded: LoadedSpec) -> Iterator[None]:
    """Where a model is not what a specification says of its sites, tell that at its line."""
    try:
        yield
    except SiteError as error:
        loc = ("sites", *error.at)
        raise SpecError(loaded.problem_at(loc, str(error), key=len(loc) < 3)) from None


def refuse_named(sites: NamedSites, path: Path, what: str) -> None:
    """Raise SiteError where sites are named of a directory in which others know where they are."""
    if sites:
        raise SiteError(
            f"where they are is named of models of transformers alone, and {path} {what}; leave "
            "'sites' out, or list those that it has"
        )


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
