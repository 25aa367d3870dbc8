"""The words of generated Python, and what is drawn from them: names, phrases, plain statements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from numpy.random import Generator


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Most of them are single tokens of the bundled model.
NAMES: Final = _words(
    "item value result data name key index total count node state config user path line text"
    " token group table field option record buffer message response current level score first"
    " second left right width height size start limit parent status flag"
)
FIELDS: Final = _words(
    "name value left right width height size parent start limit level score key index count text"
)
WORDS: Final = _words(
    "alpha beta gamma delta hello world error warning done start stop open close left right red"
    " green blue north south first second last empty full input output ready failed"
)
CALLS: Final = _words("print log show warn send write emit display")
FUNCTIONS: Final = _words("load save build parse update check find make read run reset merge")
CLASSES: Final = _words("Node Config Table Record Buffer User Group Reader Writer Parser Token")
READ_STEMS: Final = _words("input source config")
WRITE_STEMS: Final = _words("output result report")
EXTENSIONS: Final = _words("txt csv json")
HANDLES: Final = _words("file handle stream source target line data")
DEFAULTS: Final = ("None", "None", "None", "0", "True", '""')
STRAYS: Final = ("[", "]", "(", "{", '"', "'")


def chance(rng: Generator, probability: float) -> bool:
    return bool(rng.random() < probability)


def number(rng: Generator, least: int, most: int) -> int:
    return int(rng.integers(least, most + 1))


def one(rng: Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def several(rng: Generator, options: Sequence[str], *, least: int, most: int) -> list[str]:
    """Between `least` and `most` of the options, which may repeat."""
    return [one(rng, options) for _ in range(number(rng, least, most))]


def distinct(rng: Generator, options: Sequence[str], count: int) -> list[str]:
    """That many different options in random order."""
    return [options[int(i)] for i in rng.permutation(len(options))[:count]]


def name(rng: Generator) -> str:
    return one(rng, NAMES)


def fields(rng: Generator, count: int) -> list[str]:
    """That many different names, mostly of those that attributes and swaps have in common."""
    return distinct(rng, FIELDS if chance(rng, 0.8) else NAMES, count)


def quote(rng: Generator) -> str:
    return one(rng, ("'", '"'))


def integer(rng: Generator) -> str:
    """A number below a hundred."""
    return str(number(rng, 0, 99))


def integers(rng: Generator, *, most: int = 6) -> str:
    """Between one and `most` numbers, separated by commas."""
    return ", ".join(integer(rng) for _ in range(number(rng, 1, most)))


def phrase(rng: Generator) -> str:
    return " ".join(several(rng, WORDS, least=1, most=4))


def value(rng: Generator) -> str:
    return name(rng) if chance(rng, 0.6) else integer(rng)


def condition(rng: Generator) -> str:
    """What can stand after `if`, `elif` or `while`."""
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
    return comment(rng) if chance(rng, 0.1) else statement(rng)


def lines(rng: Generator, *, most: int = 2) -> str:
    """Up to `most` lines, each ending in a newline."""
    return "".join(f"{line(rng)}\n" for _ in range(number(rng, 0, most)))


def indented(text: str) -> str:
    return "\n".join(f"    {each}" if each else each for each in text.split("\n"))


def body(rng: Generator) -> str:
    """One or two indented statements, without a newline at the end."""
    return indented("\n".join(statement(rng) for _ in range(number(rng, 1, 2))))
