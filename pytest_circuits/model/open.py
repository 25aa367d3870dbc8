"""From a directory to a model."""

from pytest_circuits.model.sparse.directory import load_model

__all__ = ["load_model"]
