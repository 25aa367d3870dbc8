"""The weight-sparse GPT and its directory on disk."""

from pytest_circuits.model.config import ModelConfig
from pytest_circuits.model.device import usable_device
from pytest_circuits.model.directory import (
    Model,
    load_model,
    load_reference,
    save_model,
    save_reference,
)
from pytest_circuits.model.gpt import SparseGPT
from pytest_circuits.model.reference import Reference, measure
from pytest_circuits.model.tokenizer import Tokenizer, load_tokenizer, train_tokenizer

__all__ = [
    "Model",
    "ModelConfig",
    "Reference",
    "SparseGPT",
    "Tokenizer",
    "load_model",
    "load_reference",
    "load_tokenizer",
    "measure",
    "save_model",
    "save_reference",
    "train_tokenizer",
    "usable_device",
]
