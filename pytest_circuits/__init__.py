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
    "CircuitsError": "pytest_circuits.errors",
    "Spec": "pytest_circuits.spec.types",
    "load_spec": "pytest_circuits.spec.load",
    "load_model": "pytest_circuits.model.open",
    "make_bench": "pytest_circuits.claims.setup",
    "run_claim": "pytest_circuits.claims.laws",
    "Evidence": "pytest_circuits.claims.evidence",
    "Verdict": "pytest_circuits.claims.evidence",
    # To bring a claim of one's own.
    "Bench": "pytest_circuits.claims.bench",
    "Claim": "pytest_circuits.claims.card",
    "LawCard": "pytest_circuits.claims.card",
    "Cost": "pytest_circuits.claims.cost",
    "Finding": "pytest_circuits.claims.findings",
    "conclude": "pytest_circuits.claims.findings",
    # To bring a model of one's own.
    "Model": "pytest_circuits.model.protocol",
    "Site": "pytest_circuits.model.protocol",
    "Kind": "pytest_circuits.model.protocol",
    "Gauge": "pytest_circuits.model.protocol",
    "Shows": "pytest_circuits.model.protocol",
    "Wire": "pytest_circuits.model.protocol",
    # To hand over a module that was built elsewhere.
    "hand_over": "pytest_circuits.model.handed.hand_over",
    "SiteAt": "pytest_circuits.spec.sites",
    # To bring an output of one's own.
    "Output": "pytest_circuits.report.outputs",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:  # noqa: ANN401  (PEP 562)
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
