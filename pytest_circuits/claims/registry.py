"""The claims that there are, in the order in which they are reported."""

from __future__ import annotations

from pytest_circuits.claims.behaves import BEHAVES
from pytest_circuits.claims.blind import BLIND
from pytest_circuits.claims.card import Claim
from pytest_circuits.claims.depends_on import DEPENDS_ON
from pytest_circuits.claims.faithful.card import FAITHFUL
from pytest_circuits.claims.minimal import MINIMAL
from pytest_circuits.claims.necessary import NECESSARY
from pytest_circuits.claims.specific import SPECIFIC
from pytest_circuits.claims.stable.card import STABLE
from pytest_circuits.claims.sufficient import SUFFICIENT
from pytest_circuits.spec.types import Spec

CLAIMS: dict[str, Claim] = {
    claim.name: claim
    for claim in (
        BEHAVES,
        SUFFICIENT,
        NECESSARY,
        STABLE,
        FAITHFUL,
        MINIMAL,
        SPECIFIC,
        BLIND,
        DEPENDS_ON,
    )
}


def declared(spec: Spec) -> tuple[str, ...]:
    """Names of the claims that a specification makes, in order."""
    return tuple(name for name in CLAIMS if getattr(spec.claims, name) is not None)
