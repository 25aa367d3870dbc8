"""Models that a conftest.py hands over, where the gate would load a directory.

A hook, and no fixture: what a specification says is held to its model when it is collected, before
any fixture runs, and in every process of pytest-xdist.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import pytest
import torch

from pytest_circuits.errors import CircuitsError, ModelError
from pytest_circuits.model.open import check_sites
from pytest_circuits.model.protocol import Model
from pytest_circuits.system.files import read_bounded

HOOK = "pytest_circuits_model"
_MAX_BYTES = 2**24  # of a file with code
_ASKED = ("path", "digest", "device", "sites", "run", "visit", "encode")  # of what is handed over


@dataclass(frozen=True, slots=True)
class Handed:
    """A model, and the file whose code has built it."""

    model: Model
    file: Path


HandOver: TypeAlias = Callable[[Path, str], Handed | None]  # directory and device


def from_hooks(config: pytest.Config) -> HandOver:
    """What asks the hooks of a run for the model that a directory stands for."""

    def ask(path: Path, device: str) -> Handed | None:
        caller = getattr(config.hook, HOOK)
        every = caller.get_hookimpls()
        found = []
        for each in every:
            others = [other.plugin for other in every if other is not each]
            one = config.pluginmanager.subset_hook_caller(HOOK, remove_plugins=others)
            file = Path(os.path.relpath(each.function.__code__.co_filename))
            if (model := _asked(one, path, device, file)) is not None:
                found.append(Handed(_checked(model, path, device, file), file))
        if len(found) > 1:
            files = " and ".join(sorted(str(each.file) for each in found))
            raise ModelError(f"{path}: is handed over by {files}; let one of them return None")
        for each in found:  # what evidence depends on
            read_bounded(each.file, max_bytes=_MAX_BYTES, error=ModelError)
        return found[0] if found else None

    return ask


def _asked(hook: Any, path: Path, device: str, file: Path) -> object:  # noqa: ANN401  (of pluggy)
    try:
        found = hook(path=path, device=torch.device(device))
    except ModelError:
        raise
    except CircuitsError as error:  # of a file with text, say
        raise ModelError(f"{path}: {HOOK} of {file}: {error}") from error
    except Exception as error:  # whatever the code of a user raises
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if Path(frame.filename).name == file.name]
        line = (own or frames)[-1].lineno
        raise ModelError(
            f"{path}: {file}:{line}: {HOOK} raised {type(error).__name__}: {error}"
        ) from error
    return found[0] if isinstance(found, list) and found else found or None


def _checked(found: object, path: Path, device: str, file: Path) -> Model:
    if any(not hasattr(found, name) for name in _ASKED):
        raise ModelError(
            f"{path}: {HOOK} of {file} returned a {type(found).__name__}, and no model; return "
            "what pytest_circuits.hand_over(module, path=path, ...) gives"
        )
    model = cast("Model", found)
    if os.path.realpath(model.path) != os.path.realpath(path):
        raise ModelError(
            f"{path}: {HOOK} of {file} returned a model of {model.path}; hand it over with "
            "path=path, or return None"
        )
    if model.device.type != torch.device(device).type:
        raise ModelError(
            f"{path}: {HOOK} of {file} returned a model on {model.device}, and the gate computes "
            f"on {device}; build it on the device that the hook is told"
        )
    check_sites(model, f"{path}: the model that {file} hands over")
    return model
