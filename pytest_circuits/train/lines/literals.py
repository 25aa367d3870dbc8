"""Lists, dicts, and variables that begin as an empty set or an empty string."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_circuits.train.lines.draw import (
    chance,
    comment,
    distinct,
    indented,
    integer,
    integers,
    lines,
    name,
    number,
    one,
    quote,
    several,
)
from pytest_circuits.train.lines.vocabulary import NAMES, WORDS

if TYPE_CHECKING:
    from numpy.random import Generator


def flat_list(rng: Generator) -> str:
    """`count = [3, 7, 11]`, sometimes after a comment."""
    return f"{_remark(rng)}{name(rng)} = [{integers(rng)}]"


def nested_list(rng: Generator) -> str:
    """`count = [[3, 7, 11]]`, mostly of one row, sometimes after a comment."""
    rows = 1 if chance(rng, 0.7) else 2
    return f"{_remark(rng)}{name(rng)} = [[{'], ['.join(integers(rng) for _ in range(rows))}]]"


def list_of_strings(rng: Generator) -> str:
    """`state = ["red", "north"]`, in either quote."""
    mark = _mark(rng)
    words = (f"{mark}{word}{mark}" for word in several(rng, WORDS, least=2, most=4))
    return f"{_remark(rng)}{name(rng)} = [{', '.join(words)}]"


def dict_literal(rng: Generator) -> str:
    """`state = {"red": 3, "north": 7}`, in either quote; some values are strings."""
    mark, strings = _mark(rng), chance(rng, 0.25)
    pairs = (
        f"{mark}{key}{mark}: " + (f"{mark}{one(rng, WORDS)}{mark}" if strings else integer(rng))
        for key in several(rng, WORDS, least=1, most=3)
    )
    return f"{_remark(rng)}{name(rng)} = {{{', '.join(pairs)}}}"


def set_or_string(rng: Generator) -> str:
    """One variable that begins as `set()` or `""` and is extended later."""
    return _grown(rng, [name(rng)])


def current_set_or_string(rng: Generator) -> str:
    """The same for the variable `current`."""
    return _grown(rng, ["current"])


def set_and_string(rng: Generator) -> str:
    """Two variables, each a set or a string, extended in either order."""
    return _grown(rng, distinct(rng, NAMES, 2))


def _grown(rng: Generator, names: list[str]) -> str:
    kinds = {each: chance(rng, 0.5) for each in names}
    begin = "".join(f"{each} = {'set()' if kinds[each] else chr(34) * 2}\n" for each in names)
    text = begin + lines(rng)
    for each in distinct(rng, names, len(names)):
        uses = "\n".join(_use(rng, each, is_set=kinds[each]) for _ in range(number(rng, 1, 2)))
        if chance(rng, 0.2):
            uses = f"for {name(rng)} in {name(rng)}s:\n{indented(uses)}"
        text += f"{uses}\n"
    return text.removesuffix("\n")


def _use(rng: Generator, variable: str, *, is_set: bool) -> str:
    return f"{variable}.add({name(rng)})" if is_set else f"{variable} += {name(rng)}"


def _mark(rng: Generator) -> str:
    return quote(rng) if chance(rng, 0.4) else '"'


def _remark(rng: Generator) -> str:
    return f"{comment(rng)}\n" if chance(rng, 0.1) else ""
