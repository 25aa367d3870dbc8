"""What all families draw from: words, numbers, phrases, plain statements, conditions and blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_circuits.train.lines.vocabulary import CALLS, FIELDS, FUNCTIONS, NAMES, STRAYS, WORDS

if TYPE_CHECKING:
    from numpy.random import Generator

INDENT = "    "


def chance(rng: Generator, probability: float) -> bool:
    """Whether an event of this probability happens."""
    return bool(rng.random() < probability)


def number(rng: Generator, least: int, most: int) -> int:
    """A whole number between two bounds, both included."""
    return int(rng.integers(least, most + 1))


def one(rng: Generator, options: Sequence[str]) -> str:
    """One of the options, each equally likely."""
    return options[int(rng.integers(len(options)))]


def several(rng: Generator, options: Sequence[str], *, least: int, most: int) -> list[str]:
    """Between `least` and `most` of the options, which may repeat."""
    return [one(rng, options) for _ in range(number(rng, least, most))]


def distinct(rng: Generator, options: Sequence[str], count: int) -> list[str]:
    """That many different options in random order."""
    return [options[int(i)] for i in rng.permutation(len(options))[:count]]


def name(rng: Generator) -> str:
    """Draw the name of a variable."""
    return one(rng, NAMES)


def fields(rng: Generator, count: int) -> list[str]:
    """That many different names, mostly of those that attributes and swaps have in common."""
    return distinct(rng, FIELDS if chance(rng, 0.8) else NAMES, count)


def quote(rng: Generator) -> str:
    """Draw a single or a double quote."""
    return one(rng, ("'", '"'))


def integer(rng: Generator) -> str:
    """Draw a number below a hundred."""
    return str(number(rng, 0, 99))


def integers(rng: Generator, *, most: int = 6) -> str:
    """Between one and `most` numbers, separated by commas."""
    return ", ".join(integer(rng) for _ in range(number(rng, 1, most)))


def phrase(rng: Generator) -> str:
    """Draw one to four words."""
    return " ".join(several(rng, WORDS, least=1, most=4))


def value(rng: Generator) -> str:
    """Draw a name or a number."""
    return name(rng) if chance(rng, 0.6) else integer(rng)


def condition(rng: Generator) -> str:
    """Draw what can stand after `if`, `elif` or `while`."""
    return one(
        rng,
        (
            name(rng),
            name(rng),
            f"not {name(rng)}",
            f"not {name(rng)}",
            f"{name(rng)} == {value(rng)}",
            f"{name(rng)} > {integer(rng)}",
        ),
    )


def statement(rng: Generator) -> str:
    """One line without strings or literals, for bodies and between other lines."""
    return one(
        rng,
        (
            f"{name(rng)} = {integer(rng)}",
            f"{name(rng)} = {name(rng)}",
            f"{name(rng)} += {one(rng, ('1', name(rng)))}",
            f"{one(rng, FUNCTIONS)}({name(rng)})",
            f"{one(rng, CALLS)}({name(rng)})",
        ),
    )


def comment(rng: Generator) -> str:
    """One comment line; half of them hold a bracket or quote that has no partner."""
    middle = f" {one(rng, STRAYS)} " if chance(rng, 0.5) else " "
    return f"# {phrase(rng)}{middle}{phrase(rng)}"


def line(rng: Generator) -> str:
    """Draw a statement, or now and then a comment."""
    return comment(rng) if chance(rng, 0.1) else statement(rng)


def lines(rng: Generator, *, most: int = 2) -> str:
    """Up to `most` lines, each ending in a newline."""
    return "".join(f"{line(rng)}\n" for _ in range(number(rng, 0, most)))


def indented(text: str) -> str:
    """Return the text with every line one level deeper."""
    return "\n".join(f"{INDENT}{each}" if each else each for each in text.split("\n"))


def body(rng: Generator) -> str:
    """One or two indented statements, without a newline at the end."""
    return indented("\n".join(statement(rng) for _ in range(number(rng, 1, 2))))
