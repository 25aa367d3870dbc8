"""Claims that other distributions bring, by entry points of the group `pytest_circuits.claims`.

The name of an entry point is that of the claim. Its value is what YAML says of it, its limits: a
pydantic class that is strict and frozen, forbids other keys, and names its `pytest_circuits.claims`
card as "module:ATTRIBUTE" in `card`. docs/extending.md shows one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from pydantic import BaseModel, create_model

from pytest_circuits.errors import UsageError, told
from pytest_circuits.spec.problems import quoted

GROUP = "pytest_circuits.claims"
_NAME = re.compile(r"(?!model_)[a-z][a-z0-9_]{0,99}")
_TARGET = re.compile(r"[\w.]+:\w+")
_TAKEN = {"selfcheck", "items", *dir(BaseModel)}  # a result beside claims; attributes of a type
_NEEDED = {"strict": True, "frozen": True, "extra": "forbid"}

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Installed:
    """A claim of another distribution."""

    name: str
    distribution: str
    limits: type[BaseModel]
    card: str  # "module:ATTRIBUTE"


@cache
def installed() -> tuple[dict[str, Installed], tuple[str, ...]]:
    """Claims of other distributions, by name, and why those that cannot be used cannot."""
    found: dict[str, Installed] = {}
    problems = []
    points = entry_points(group=GROUP)
    for point in sorted(points, key=lambda point: (point.name, _origin(point))):
        try:
            found[point.name] = _loaded(point, found)
        except _UnusableError as error:
            problems.append(f"claim {quoted(point.name)} of {_origin(point)}: {error}")
    return found, tuple(problems)


def with_installed(claims: type[T]) -> type[T]:
    """The type of claims, with a field after its own for each that other distributions bring."""
    fields = {n: each.limits for n, each in installed()[0].items() if n not in claims.model_fields}
    return with_fields(claims, fields) if fields else claims


def with_fields(kind: type[T], fields: Mapping[str, Any]) -> type[T]:
    """A type with more fields, by name, each of which may be left out."""
    given: dict[str, Any] = {name: (held | None, None) for name, held in fields.items()}
    return create_model(
        kind.__name__, __base__=kind, __module__=kind.__module__, __doc__=kind.__doc__, **given
    )


def refuse_broken(claims: type[BaseModel]) -> None:
    """Raise UsageError, with distribution and reason, where a claim installed cannot be used."""
    found, problems = installed()
    clashes = (
        f"claim {quoted(name)} of {each.distribution}: there is such a claim already"
        for name, each in found.items()
        if claims.model_fields[name].annotation != each.limits | None
    )
    if refused := [*problems, *clashes]:
        raise UsageError("\n".join(told(refused)))


class _UnusableError(Exception):
    """Why an entry point brings no claim."""


def _loaded(point: EntryPoint, found: Mapping[str, Installed]) -> Installed:
    if not _NAME.fullmatch(point.name) or point.name in _TAKEN:
        raise _UnusableError("a claim cannot have this name")
    if point.name in found:
        raise _UnusableError(f"{found[point.name].distribution} brings a claim of this name too")
    try:
        limits = point.load()
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise _UnusableError(f"{point.value} cannot be imported: {why}") from error
    if not (isinstance(limits, type) and issubclass(limits, BaseModel)):
        raise _UnusableError(f"{point.value} is not a pydantic class")
    if lax := [key for key, value in _NEEDED.items() if limits.model_config.get(key) != value]:
        config = ", ".join(f"{key}={_NEEDED[key]!r}" for key in lax)
        raise _UnusableError(f"{point.value} needs ConfigDict({config})")
    card = getattr(limits, "card", None)
    if not (isinstance(card, str) and _TARGET.fullmatch(card)):
        raise _UnusableError(f"the card of {point.value} is not 'module:ATTRIBUTE'")
    return Installed(point.name, _origin(point), limits, card)


def _origin(point: EntryPoint) -> str:
    return (point.dist and point.dist.name) or "a distribution without a name"
