"""The claims that there are, in the order in which they are reported.

The card of a claim of ours is `NAME` in the module or folder `name` beside this one; of another
distribution's, what its limits name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module

from pytest_circuits.claims.card import Claim
from pytest_circuits.errors import SpecError, UsageError
from pytest_circuits.spec.installed import Installed, installed
from pytest_circuits.spec.load import LoadedSpec
from pytest_circuits.spec.types import Claims, Spec


class _Cards(Mapping[str, Claim]):
    """Each claim's card, imported when it is first asked for."""

    def __getitem__(self, name: str) -> Claim:
        if name not in Claims.model_fields:
            raise KeyError(name)
        return _card(name)

    def __contains__(self, name: object) -> bool:
        return name in Claims.model_fields

    def __iter__(self) -> Iterator[str]:
        return iter(Claims.model_fields)

    def __len__(self) -> int:
        return len(Claims.model_fields)


CLAIMS: Mapping[str, Claim] = _Cards()


def declared(spec: Spec) -> tuple[str, ...]:
    """Names of the claims that a specification makes, in order."""
    return tuple(name for name in CLAIMS if getattr(spec.claims, name) is not None)


def require_nodes(loaded: LoadedSpec) -> None:
    """Make sure that there is a circuit, if a claim is about one and not about the model.

    Raises SpecError when no nodes are listed, UsageError when the card of a claim cannot be used.
    """
    about_nodes = [name for name in declared(loaded.spec) if CLAIMS[name].needs_nodes]
    if about_nodes and not any(loaded.spec.nodes.values()):
        text = f"circuit '{loaded.spec.circuit}' has no nodes yet"
        hint = f"find them with: pytest-circuits prune {loaded.path}"
        raise SpecError(loaded.problem_at(("circuit",), text, hint, key=True))


@cache
def _card(name: str) -> Claim:
    others, _ = installed()
    if name in others:
        return _card_of(others[name])
    module = import_module(f"pytest_circuits.claims.{name}")
    if hasattr(module, "__path__"):
        module = import_module(f"{module.__name__}.card")
    card: Claim = getattr(module, name.upper())
    return card


def _card_of(claim: Installed) -> Claim:
    module, _, attribute = claim.card.partition(":")
    told = f"claim '{claim.name}' of {claim.distribution}: {claim.card}"
    try:
        card = getattr(import_module(module), attribute)
    except Exception as error:
        why = f"cannot be imported: {type(error).__name__}: {error}"
        raise UsageError(f"{told} {why}") from error
    if not (isinstance(card, Claim) and card.name == claim.name):
        raise UsageError(f"{told} is not the card of a claim '{claim.name}'")
    return card
