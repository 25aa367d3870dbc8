"""Problems of what a specification says about claims that it does not make, or does not hold to."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_circuits.spec.problems import Fault, quoted
from pytest_circuits.spec.types import Spec


def check_reasons(spec: Spec) -> Iterator[Fault]:
    """Give the faults of `undeclared` and `waivers`: a claim that does not fit, no reason."""
    made = spec.claims.model_fields_set
    for name, reason in spec.undeclared.items():
        yield from _blank(("undeclared", name), reason)
        if name in made:
            text = f"claim {quoted(name)} is declared, and so put to the test"
            yield Fault(("undeclared", name), text, "remove this line, or the claim", key=True)
    for name, waiver in spec.waivers.items():
        yield from _blank(("waivers", name, "reason"), waiver.reason)
        if name not in made:
            text = f"claim {quoted(name)} is not declared: there is nothing to waive"
            yield Fault(("waivers", name), text, "remove this line", key=True)


def _blank(loc: tuple[str, ...], reason: str) -> Iterator[Fault]:
    if not reason.strip():
        yield Fault(loc, "the reason says nothing", "say why, and what was measured or reviewed")
