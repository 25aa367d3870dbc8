"""Functions: their arguments and their ends; lambdas; swaps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_circuits.train.lines.draw import (
    body,
    chance,
    distinct,
    fields,
    indented,
    integer,
    lines,
    name,
    number,
    one,
    statement,
    value,
)
from pytest_circuits.train.lines.vocabulary import DEFAULTS, FUNCTIONS, NAMES

if TYPE_CHECKING:
    from numpy.random import Generator


def arguments(rng: Generator) -> str:
    """A function whose arguments have no defaults, all have one, or the last of them have."""
    names = distinct(rng, NAMES, number(rng, 1, 4))
    kind = rng.random()
    plain = len(names) if kind < 0.5 else 0 if kind < 0.9 else number(rng, 0, len(names))
    default = one(rng, DEFAULTS)
    listed = [*names[:plain], *(f"{each}={default}" for each in names[plain:])]
    return f"def {_function(rng)}({', '.join(listed)}):\n{body(rng)}"


def true_in_function(rng: Generator) -> str:
    """A function that holds `while True:` or ends in `return True`."""
    inner = lines(rng, most=1)
    if chance(rng, 0.5):
        inner += f"while True:\n{body(rng)}"
    else:
        inner += f"return {one(rng, ('True', 'True', 'False', name(rng)))}"
    parameter = name(rng) if chance(rng, 0.3) else ""
    return f"def {_function(rng)}({parameter}):\n{indented(inner)}"


def while_true(rng: Generator) -> str:
    """`while True:` at the level of the module."""
    return f"while True:\n{body(rng)}"


def lambda_function(rng: Generator) -> str:
    """`item = lambda key: key + 3`, of one or two arguments."""
    names = distinct(rng, NAMES, 1 if chance(rng, 0.8) else 2)
    return f"{name(rng)} = lambda {', '.join(names)}: {names[-1]} + {value(rng)}"


def named_function(rng: Generator) -> str:
    """`def item(key):` that returns a sum."""
    parameter = name(rng)
    returned = indented(f"return {parameter} + {value(rng)}")
    return f"def {name(rng)}({parameter}):\n{returned}"


def swap(rng: Generator) -> str:
    """`left, right = right, left`, after up to two lines."""
    first, second = fields(rng, 2)
    return f"{lines(rng)}{first}, {second} = {second}, {first}"


def swap_in_block(rng: Generator) -> str:
    """A swap under a condition or in a loop."""
    first, second = fields(rng, 2)
    header = one(rng, (f"if {first} > {second}:", f"while {first}:", f"if {second}:"))
    return f"{header}\n{indented(f'{first}, {second} = {second}, {first}')}"


def pair(rng: Generator) -> str:
    """`left, right = 3, 7`: two targets that are not swapped."""
    first, second = fields(rng, 2)
    return f"{first}, {second} = {integer(rng)}, {integer(rng)}\n{statement(rng)}"


def _function(rng: Generator) -> str:
    return one(rng, FUNCTIONS) if chance(rng, 0.5) else name(rng)
