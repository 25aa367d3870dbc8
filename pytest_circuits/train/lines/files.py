"""Opening files: with `with` or by assignment, for reading or for writing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_circuits.train.lines.draw import body, chance, name, one
from pytest_circuits.train.lines.vocabulary import (
    EXTENSIONS,
    FUNCTIONS,
    HANDLES,
    READ_STEMS,
    WORDS,
    WRITE_STEMS,
)

if TYPE_CHECKING:
    from numpy.random import Generator


def open_variable(rng: Generator) -> str:
    """`with open(path) as line:` or `line = open(path)`."""
    function = "open" if chance(rng, 0.85) else one(rng, FUNCTIONS)
    return _opened(rng, f"{function}({name(rng)})", variable=name(rng))


def open_by_name(rng: Generator) -> str:
    """`with open("input_red.txt", "r") as file:`: the name tells the mode."""
    stems, mode = (READ_STEMS, "r") if chance(rng, 0.5) else (WRITE_STEMS, "w")
    stem, word = one(rng, stems), one(rng, WORDS[:24])  # the words after these are stems too
    shown = one(rng, (stem, f"{stem}_{word}", f"{stem}_{word}", f"{word}_{stem}"))
    mark = '"' if chance(rng, 0.8) else "'"
    call = f"open({mark}{shown}.{one(rng, EXTENSIONS)}{mark}, {mark}{mode}{mark})"
    return _opened(rng, call, variable=one(rng, HANDLES))


def _opened(rng: Generator, call: str, *, variable: str) -> str:
    if chance(rng, 0.5):
        return f"with {call} as {variable}:\n{body(rng)}"
    return f"{variable} = {call}"
