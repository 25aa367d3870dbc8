"""What a model is to everything above."""

from pytest_circuits.model.sparse.directory import Model

__all__ = ["Model"]
