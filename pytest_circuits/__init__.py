"""Gate model releases on mechanisms: circuits as regression tests.

Importing this package imports nothing but the standard library; each public name is loaded when it
is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "CircuitsError": "pytest_circuits.errors",
    "Model": "pytest_circuits.model.protocol",
    "Spec": "pytest_circuits.spec.types",
    "load_model": "pytest_circuits.model.open",
    "load_spec": "pytest_circuits.spec.load",
}

__all__ = ["CircuitsError", "Model", "Spec", "load_model", "load_spec"]


def __getattr__(name: str) -> Any:  # noqa: ANN401  (PEP 562)
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
