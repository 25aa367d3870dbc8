"""What each node of a circuit carries at each token of the prompts of a pair, as a heat map.

A row is a node, in the order of the drawing; a column is a token, those of one prompt after those
of the other. Each row has its own scale: its largest value is drawn full, above zero in one colour
and below it in another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from xml.sax.saxutils import escape

from pytest_circuits.spec.problems import visible

CELL = 17.0  # width and height
_BETWEEN = 14.0  # prompts
_LETTER = 6.6  # width, about, of a letter of a token
_FAINT = 0.02  # of the largest value: less is not drawn


@dataclass(frozen=True, slots=True)
class Carried:
    """A node, and what it carries at each token of each prompt."""

    node: str
    values: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Heat:
    tokens: tuple[tuple[str, ...], ...]  # of each prompt
    rows: tuple[Carried, ...]

    @property
    def top(self) -> float:
        """Room for the tokens, which stand upright above the cells."""
        longest = max(len(visible(repr(x))) for prompt in self.tokens for x in prompt)
        return 12 + longest * _LETTER

    def size(self, indent: float) -> tuple[float, float]:
        """How wide and high it is, with so much room for the names of nodes."""
        columns = sum(map(len, self.tokens))
        width = indent + columns * CELL + (len(self.tokens) - 1) * _BETWEEN
        return width + 10, self.top + len(self.rows) * CELL


def cells(heat: Heat, indent: float, y: float) -> Iterator[str]:
    """The elements of the map, below a drawing: y is where it begins."""
    first = y + heat.top
    for prompt, number, x in _columns(heat, indent):
        token, at = escape(visible(repr(heat.tokens[prompt][number]))), x + CELL / 2 + 4
        turned = f"rotate(-90 {at:g} {first - 4:g})"
        yield f'<text x="{at:g}" y="{first - 4:g}" transform="{turned}">{token}</text>'
    for place, row in enumerate(heat.rows):
        top = first + place * CELL
        name = escape(visible(row.node))
        yield f'<text class="name" x="{indent - 10:g}" y="{top + 13:g}">{name}</text>'
        most = max((abs(v) for values in row.values for v in values if isfinite(v)), default=0.0)
        for prompt, number, x in _columns(heat, indent):
            value = row.values[prompt][number]
            share = abs(value) / most if most and isfinite(value) else 0.0
            if share < _FAINT:
                continue
            told = escape(visible(f"{row.node} at {heat.tokens[prompt][number]!r}: {value:+.3g}"))
            sign = "cold" if value < 0 else "hot"
            yield (
                f'<rect class="{sign}" x="{x:g}" y="{top:g}" width="{CELL - 1:g}" '
                f'height="{CELL - 1:g}" fill-opacity="{share:.2f}"><title>{told}</title></rect>'
            )


def _columns(heat: Heat, indent: float) -> Iterator[tuple[int, int, float]]:
    """Prompt, token and place from the left of each column."""
    x = indent
    for prompt, tokens in enumerate(heat.tokens):
        for number in range(len(tokens)):
            yield prompt, number, x
            x += CELL
        x += _BETWEEN
