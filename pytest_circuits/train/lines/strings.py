"""Strings: which quote closes them, and what a format string holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_circuits.train.lines.draw import chance, name, one, phrase, quote
from pytest_circuits.train.lines.vocabulary import CALLS

if TYPE_CHECKING:
    from numpy.random import Generator


def quoted_call(rng: Generator) -> str:
    """`print("red north")`, in either quote."""
    mark = quote(rng)
    return f"{one(rng, CALLS)}({mark}{phrase(rng)}{mark})"


def quoted_assignment(rng: Generator) -> str:
    """`name = 'red north'`, in either quote."""
    mark = quote(rng)
    return f"{name(rng)} = {mark}{phrase(rng)}{mark}"


def format_call(rng: Generator) -> str:
    """`print(f"red north {name}")`: a format string has a name in braces after its words."""
    return f"{one(rng, CALLS)}({_format_string(rng)})"


def format_assignment(rng: Generator) -> str:
    """`text = f"red north {name}"`."""
    return f"{name(rng)} = {_format_string(rng)}"


def _format_string(rng: Generator) -> str:
    mark = '"' if chance(rng, 0.8) else "'"
    after = f" {phrase(rng)}" if chance(rng, 0.25) else ""
    return f"f{mark}{phrase(rng)} {{{name(rng)}}}{after}{mark}"
