"""The weight-sparse GPT and its directory on disk.

Importing the configuration alone does not load torch: each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_circuits.model.config import ModelConfig
    from pytest_circuits.model.device import usable_device
    from pytest_circuits.model.directory import (
        Model,
        check_reference,
        load_model,
        load_reference,
        save_model,
        save_reference,
    )
    from pytest_circuits.model.gpt import SparseGPT
    from pytest_circuits.model.reference import Reference, measure
    from pytest_circuits.model.tokenizer import Tokenizer, load_tokenizer, train_tokenizer

_PUBLIC = {
    "Model": "directory",
    "ModelConfig": "config",
    "Reference": "reference",
    "SparseGPT": "gpt",
    "Tokenizer": "tokenizer",
    "check_reference": "directory",
    "load_model": "directory",
    "load_reference": "directory",
    "load_tokenizer": "tokenizer",
    "measure": "reference",
    "save_model": "directory",
    "save_reference": "directory",
    "train_tokenizer": "tokenizer",
    "usable_device": "device",
}

__all__ = [
    "Model",
    "ModelConfig",
    "Reference",
    "SparseGPT",
    "Tokenizer",
    "check_reference",
    "load_model",
    "load_reference",
    "load_tokenizer",
    "measure",
    "save_model",
    "save_reference",
    "train_tokenizer",
    "usable_device",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401  (PEP 562)
    if name in _PUBLIC:
        return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
