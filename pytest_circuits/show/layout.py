"""Numbers, sums and lines as they stand in a program."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_circuits.spec.problems import visible

WIDTH = 98
_NOTHING = 5e-7  # smaller magnitudes are rounding


def number(x: float) -> str:
    """Three digits, no negative zero."""
    return f"{x:.3g}" if abs(x) >= _NOTHING else "0"


def token(text: str) -> str:
    """A token in quotes that it does not hold itself."""
    mark = '"' if "'" in text and '"' not in text else "'"
    return f"{mark}{visible(text)}{mark}"


def total(terms: Iterable[tuple[float, str]], constant: float = 0.0) -> list[str]:
    """The pieces of a sum such as `1.5 v[0]`, `- 0.2 v[3]`, `+ 0.1`; without terms that are 0."""
    parts = [(x, f"{number(abs(x))} {name}") for x, name in terms if x != 0]
    if number(constant) != "0" or not parts:
        parts.append((constant, number(abs(constant))))
    (first, text), *rest = parts
    signed = [f"{'-' if x < 0 else '+'} {part}" for x, part in rest]
    return [f"-{text}" if first < 0 and text != "0" else text, *signed]


def listed(items: Iterable[str]) -> list[str]:
    """The pieces of a list: a comma after each item but the last."""
    *most, last = items
    return [*(f"{item}," for item in most), last]


def wrapped(pieces: Iterable[str], head: str) -> list[str]:
    """The pieces after `head`, in lines that go on below its end; a piece is never broken."""
    lines = [head]
    for piece in pieces:
        start = not lines[-1].strip() or lines[-1] == head
        if not start and len(lines[-1]) + 1 + len(piece) > WIDTH:
            lines.append(" " * len(head))
            start = True
        lines[-1] += piece if start else f" {piece}"
    return lines


def aligned(rows: Sequence[tuple[str, Sequence[str]]], *, indent: int) -> list[str]:
    """Rows `name = pieces` whose signs stand below each other."""
    width = max((len(name) for name, _ in rows), default=0)
    return [
        line
        for name, pieces in rows
        for line in wrapped(pieces, f"{' ' * indent}{name:<{width}} = ")
    ]
