"""Generated Python: short statements in which the behaviors of the bundled circuits occur often.

Standard-library text alone shows some of them too rarely for a model that trains on a laptop. Each
family is one small function from a random generator to a few lines of Python that compile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_circuits.train.lines.draw import chance, condition, indented, name, number, one
from pytest_circuits.train.lines.families import FAMILIES
from pytest_circuits.train.lines.vocabulary import FUNCTIONS

if TYPE_CHECKING:
    from numpy.random import Generator

_DRAWN = tuple(family for family, weight in FAMILIES.items() for _ in range(weight))


def generate(rng: Generator, *, characters: int) -> str:
    """At least that many characters of generated statements, one after the other.

    Every sixth of them is a block of a few, one level deeper; the whole text is a valid module.
    """
    parts: list[str] = []
    length = 0
    while length < characters:
        text = (_block(rng) if chance(rng, 1 / 6) else _drawn(rng)) + "\n"
        parts.append(text)
        length += len(text)
    return "".join(parts)


def _drawn(rng: Generator) -> str:
    return _DRAWN[int(rng.integers(len(_DRAWN)))](rng)


def _block(rng: Generator) -> str:
    header = one(
        rng,
        (
            f"def {one(rng, FUNCTIONS)}({name(rng)}):",
            f"if {condition(rng)}:",
            f"for {name(rng)} in {name(rng)}s:",
            f"while {condition(rng)}:",
        ),
    )
    inside = "\n".join(_drawn(rng) for _ in range(number(rng, 1, 3)))
    return f"{header}\n{indented(inside)}"
