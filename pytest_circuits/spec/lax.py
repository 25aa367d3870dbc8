"""Limits so wide that what does not do the job would pass them.

Where one begins stands beside the limit, in its type: `Annotated[float, Lax(...)]`. It is half way
between what a circuit that knows everything comes to and what one comes to that guesses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class Lax:
    """From where on a limit is lax, and what it would let pass."""

    why: str
    above: float = inf
    below: float = -inf


def lax_limits(limits: BaseModel, *, place: str) -> Iterator[str]:
    """Say which of some limits are lax, each in a sentence; place: where they stand."""
    for name, field in type(limits).model_fields.items():
        value = getattr(limits, name)
        if isinstance(value, BaseModel):
            yield from lax_limits(value, place=f"{place}.{name}")
        for mark in field.metadata:
            if isinstance(mark, Lax) and not mark.below <= value <= mark.above:
                yield f"{place}.{name} of {value:g} ({mark.why})"
