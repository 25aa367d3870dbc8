"""Classes whose `__init__` keeps its arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_circuits.train.lines.draw import (
    chance,
    distinct,
    fields,
    indented,
    integer,
    number,
    one,
)
from pytest_circuits.train.lines.vocabulary import CLASSES

if TYPE_CHECKING:
    from numpy.random import Generator


def class_init(rng: Generator) -> str:
    """`self.name = name` for every argument, in any order; some classes keep a constant too."""
    count = number(rng, 1, 4)
    *names, spare = fields(rng, count + 1)
    kept = [f"self.{each} = {each}" for each in names]
    if chance(rng, 0.3):
        kept = distinct(rng, kept, count)
    if chance(rng, 0.2):
        kept.insert(number(rng, 0, count), f"self.{spare} = {one(rng, ('None', integer(rng)))}")
    header = f"def __init__(self, {', '.join(names)}):"
    method = header + "\n" + indented("\n".join(kept))
    return f"class {one(rng, CLASSES)}:\n{indented(method)}"
