"""Gate model releases on mechanisms: circuits as regression tests.

Importing this package imports nothing but the standard library; each public name is loaded when it
is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    # To read a specification and a model, and to decide a claim.
    "CircuitsError": "errors",
    "Spec": "spec.types",
    "load_spec": "spec.load",
    "load_model": "model.open",
    "make_bench": "claims.setup",
    "run_claim": "claims.laws",
    "Evidence": "claims.evidence",
    "Verdict": "claims.evidence",
    # To bring a claim of one's own.
    "Bench": "claims.bench",
    "Claim": "claims.card",
    "LawCard": "claims.card",
    "Cost": "claims.cost",
    "Finding": "claims.findings",
    "conclude": "claims.findings",
    # To bring a model of one's own.
    "Model": "model.protocol",
    "Site": "model.protocol",
    "Kind": "model.protocol",
    "Gauge": "model.protocol",
    "Shows": "model.protocol",
    "Wire": "model.protocol",
    # To bring an output of one's own.
    "Output": "report.outputs",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:  # noqa: ANN401  (PEP 562)
    if name in _PUBLIC:
        return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
