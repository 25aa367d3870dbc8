"""Plain values read from a file, each with its place, put together without recursion."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TypeAlias

from pytest_circuits.spec.problems import Fault, Loc, Problem, quoted

Scalar: TypeAlias = str | int | float | bool | None
Value: TypeAlias = "Scalar | list[Value] | dict[str, Value]"

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_DIGITS = 300


@dataclass(frozen=True, slots=True)
class Limits:
    size: int = 2**20  # bytes
    depth: int = 32  # lists and mappings inside each other
    values: int = 20_000
    scalar: int = 2**16  # characters of one text


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a key or a value stands; line and column count from 0."""

    line: int
    col: int
    length: int


@dataclass(slots=True)
class Tree:
    """The plain values of a file, where each stands, and the problems met on the way."""

    path: Path
    lines: tuple[str, ...]
    value: Value = None
    values: dict[Loc, Mark] = field(default_factory=dict)
    keys: dict[Loc, Mark] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    refused: set[Loc] = field(default_factory=set)  # values that were: more about them is an echo
    complete: bool = False  # the text could be read to its end

    def mark(self, loc: Loc, *, key: bool = False) -> Mark:
        """Return the mark of a value or of its key, or of the nearest place that has one."""
        for end in range(len(loc), -1, -1):
            at_key, at_value = self.keys.get(loc[:end]), self.values.get(loc[:end])
            found = (at_key or at_value) if key or end < len(loc) else (at_value or at_key)
            if found:
                return found
        return Mark(0, 0, 1)

    def problem(self, fault: Fault) -> Problem:
        """Return a fault with the place in the file that it points at."""
        return self.problem_at(self.mark(fault.loc, key=fault.key), fault.text, fault.hint)

    def problem_at(self, mark: Mark, text: str, hint: str | None) -> Problem:
        source = self.lines[mark.line] if mark.line < len(self.lines) else ""
        return Problem(self.path, mark.line + 1, mark.col + 1, text, hint, source, mark.length)


def plain_value(text: str) -> Scalar:
    """Return what an unquoted scalar means: YAML 1.2's core schema without 0x, nan and inf."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text[0] in "tT"
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


class StopReadingError(Exception):
    """The text cannot be read any further; its problem is recorded."""


@dataclass(slots=True)
class _Frame:
    value: list[Value] | dict[str, Value]
    loc: Loc
    key: str | None = None  # the key whose value comes next
    skip: bool = False  # that value is read and dropped


@dataclass(slots=True)
class Builder:
    """A tree put together from events; the stack is a list, not Python's."""

    tree: Tree
    limits: Limits
    problems: list[Problem] = field(default_factory=list)
    stack: list[_Frame] = field(default_factory=list)
    count: int = 0

    def report(self, mark: Mark, text: str, hint: str | None = None) -> None:
        self.problems.append(self.tree.problem_at(mark, text, hint))

    def stop(self, mark: Mark, text: str, hint: str | None = None) -> NoReturn:
        """Record a problem that makes the rest unreadable."""
        self.report(mark, text, hint)
        raise StopReadingError

    def loc(self) -> Loc:
        if not self.stack:
            return ()
        frame = self.stack[-1]
        return (*frame.loc, len(frame.value) if frame.key is None else frame.key)

    def wants_key(self) -> bool:
        frame = self.stack[-1] if self.stack else None
        return frame is not None and isinstance(frame.value, dict) and frame.key is None

    def put(self, value: Value, mark: Mark) -> None:
        self.count += 1
        if self.count > self.limits.values:
            self.stop(mark, f"more than {self.limits.values:,} values", "split the file")
        self.tree.values.setdefault(self.loc(), mark)
        if not self.stack:
            self.tree.value = value
            return
        frame = self.stack[-1]
        if isinstance(frame.value, list):
            frame.value.append(value)
        elif frame.key is not None:
            if not frame.skip:
                frame.value[frame.key] = value
            frame.key = None

    def put_key(self, key: str, mark: Mark, *, plain: bool) -> None:
        frame = self.stack[-1]
        frame.key, frame.skip = key, key in frame.value
        keys, loc = self.tree.keys, self.loc()
        if plain and key == "<<":
            frame.skip = True
            self.report(mark, "merge keys ('<<') are not read", "write the keys out")
        elif frame.skip:
            text = f"duplicate key {quoted(key)}: first given on line {keys[loc].line + 1}"
            self.report(mark, text, "keep one")
        keys.setdefault(loc, mark)

    def open(self, value: list[Value] | dict[str, Value], mark: Mark) -> None:
        if self.wants_key():
            self.stop(mark, "a list or mapping cannot be a key", "quote the key if it is a text")
        if len(self.stack) >= self.limits.depth:
            self.stop(mark, f"nested deeper than {self.limits.depth} levels")
        loc = self.loc()
        self.put(value, mark)
        self.stack.append(_Frame(value, loc))

    def scalar(self, text: str, mark: Mark, *, plain: bool) -> None:
        """Take a key or add a value; only what is unquoted can be more than a text."""
        if len(text) > self.limits.scalar:
            self.stop(mark, f"a text of more than {self.limits.scalar:,} characters")
        if _SURROGATE.search(text):
            text = self._joined(text, mark)
        if self.wants_key():
            self.put_key(text, mark, plain=plain)
        elif plain and _INT.fullmatch(text) and len(text) > _MAX_DIGITS:
            self.stop(
                mark, f"a number of more than {_MAX_DIGITS} digits", "quote it if it is a text"
            )
        else:
            self.put(plain_value(text) if plain else text, mark)

    def _joined(self, text: str, mark: Mark) -> str:
        """Return a text with surrogate pairs, which JSON escapes give, as the characters meant."""
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self.stop(mark, "an escape that is half of a character", "write '\\U' and eight digits")
