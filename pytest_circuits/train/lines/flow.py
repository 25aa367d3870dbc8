"""Loops and conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_circuits.train.lines.draw import (
    body,
    chance,
    condition,
    indented,
    integer,
    lines,
    name,
    one,
    statement,
    value,
)
from pytest_circuits.train.lines.vocabulary import FUNCTIONS

if TYPE_CHECKING:
    from numpy.random import Generator


def for_loop(rng: Generator) -> str:
    """`for item in range(7):`, or over names, or two variables over `enumerate`."""
    kind = rng.random()
    if kind < 0.35:
        header = f"for {name(rng)} in range({value(rng)}):"
    elif kind < 0.7:
        header = f"for {name(rng)}, {name(rng)} in enumerate({name(rng)}s):"
    elif kind < 0.75:
        header = f"for {name(rng)}, {name(rng)} in {name(rng)}s:"
    else:
        header = f"for {name(rng)} in {name(rng)}s:"
    return f"{header}\n{body(rng)}"


def while_loop(rng: Generator) -> str:
    """`while item:` or another condition."""
    test = name(rng) if chance(rng, 0.5) else condition(rng)
    return f"while {test}:\n{body(rng)}"


def loop_after_or_in_function(rng: Generator) -> str:
    """A function of a line or two, and a loop that is its last part or follows it."""
    inner = f"{lines(rng, most=1)}{statement(rng)}"
    function = f"def {one(rng, FUNCTIONS)}({name(rng)}):\n{indented(inner)}\n"
    loop = for_loop(rng)
    return function + (indented(loop) if chance(rng, 0.5) else loop)


def branches(rng: Generator) -> str:
    """An `if` with an `elif`, an `else`, or both."""
    text = f"if {condition(rng)}:\n{body(rng)}"
    kind = rng.random()
    if kind < 0.6:
        test = f"not {name(rng)}" if chance(rng, 0.3) else condition(rng)
        text += f"\nelif {test}:\n{body(rng)}"
    if kind > 0.4:
        text += f"\nelse:\n{body(rng)}"
    return text


def if_statement(rng: Generator) -> str:
    """`if item == value:`, or `if item:`."""
    test = f"{name(rng)} == {value(rng)}" if chance(rng, 0.5) else name(rng)
    return f"if {test}:\n{body(rng)}"


def ternary(rng: Generator) -> str:
    """`total = count if ready else 0`, or the same returned from a function."""
    test = name(rng) if chance(rng, 0.7) else condition(rng)
    expression = f"{value(rng)} if {test} else {value(rng)}"
    if chance(rng, 0.5):
        return f"{name(rng)} = {expression}"
    inner = f"{lines(rng, most=1)}return {expression}"
    return f"def {one(rng, FUNCTIONS)}({name(rng)}):\n{indented(inner)}"


def if_in_function(rng: Generator) -> str:
    """A function whose first or second line is an `if` or an assignment by a ternary."""
    inner = lines(rng, most=1)
    if chance(rng, 0.5):
        inner += f"if {name(rng)}:\n{body(rng)}"
    else:
        inner += f"{name(rng)} = {value(rng)} if {name(rng)} else {value(rng)}"
    return f"def {one(rng, FUNCTIONS)}({name(rng)}):\n{indented(inner)}"


def truth(rng: Generator) -> str:
    """`if item == True:`, `state = item == True` or `item = True`."""
    constant = "True" if chance(rng, 0.7) else "False"
    kind = rng.random()
    if kind < 0.45:
        return f"if {name(rng)} == {constant}:\n{body(rng)}"
    if kind < 0.8:
        return f"{name(rng)} = {name(rng)} == {constant}"
    return f"{name(rng)} = {constant}"


def assignment(rng: Generator) -> str:
    """Draw one to three plain lines."""
    return f"{lines(rng)}{name(rng)} = {one(rng, (name(rng), integer(rng)))}"
