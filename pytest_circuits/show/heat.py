"""What each node of a circuit carries at each token of the prompts of a pair, as a heat map.

A row is a node, in the order of the drawing; a column is a token, those of one prompt after those
of the other. Each row has its own scale: its largest value is drawn full, above zero in one colour
and below it in another. Above the rows stands what heads attend to from the last token of each
prompt: arcs from it, the wider the more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, isfinite
from typing import TypeAlias
from xml.sax.saxutils import escape

from pytest_circuits.spec.problems import visible

CELL = 17.0  # width and height
_BETWEEN = 14.0  # prompts
_LETTER = 6.6  # width, about, of a letter of a token
_FAINT = 0.02  # of the largest value: less is not drawn
_LEVELS = 5  # of opacity, where cells are not told one by one
_BAND = 34.0  # height of the arcs of a head
_LITTLE = 0.03  # of a head's attention: less is not drawn
_TOLD = 3  # tokens that get most of a head's attention
_THIN, _THICK = 1.0, 3.0  # the narrowest arc, and how much wider that of all attention is


_Column: TypeAlias = tuple[int, int, float]  # prompt, token, and its place from the left


@dataclass(frozen=True, slots=True)
class Carried:
    """A node, and what it carries at each token of each prompt."""

    node: str
    values: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Attends:
    """A head, and what it attends to from the last token of each prompt."""

    head: str
    weights: tuple[tuple[float, ...], ...]  # what these lack to one went to the sink


@dataclass(frozen=True, slots=True)
class Heat:
    tokens: tuple[tuple[str, ...], ...]  # of each prompt
    rows: tuple[Carried, ...]
    heads: tuple[Attends, ...] = ()

    def __post_init__(self) -> None:
        counts = [len(prompt) for prompt in self.tokens]
        if not counts or not all(counts):
            raise ValueError("a heat map is of prompts, each of which has tokens")
        for given in (*(row.values for row in self.rows), *(h.weights for h in self.heads)):
            if [len(values) for values in given] != counts:
                raise ValueError("a heat map has a value for each token of each prompt")

    @property
    def finite(self) -> bool:
        """Whether all that it shows are numbers."""
        every = (*(row.values for row in self.rows), *(head.weights for head in self.heads))
        return all(isfinite(value) for given in every for values in given for value in values)

    @property
    def attention(self) -> Heat | None:
        """The same without what nodes carry; None where it then shows nothing."""
        return replace(self, rows=()) if self.heads else None

    @property
    def in_words(self) -> list[str]:
        """What each head attends to most, for who does not see the arcs."""
        return [
            f"{head.head} looks from {tokens[-1]!r} {_most(tokens, weights)}"
            for head in self.heads
            for tokens, weights in zip(self.tokens, head.weights, strict=True)
        ]

    @property
    def top(self) -> float:
        """Room for the tokens, which stand upright above the cells."""
        longest = max(len(visible(repr(x))) for prompt in self.tokens for x in prompt)
        return 12 + longest * _LETTER

    def size(self, indent: float) -> tuple[float, float]:
        """How wide and high it is, with so much room for the names of nodes."""
        columns = sum(map(len, self.tokens))
        width = indent + columns * CELL + (len(self.tokens) - 1) * _BETWEEN
        return width + 10, self.top + len(self.heads) * _BAND + len(self.rows) * CELL


def _most(tokens: Sequence[str], weights: Sequence[float]) -> str:
    """The tokens that get most, and how much."""
    order = sorted(range(len(tokens)), key=lambda number: -weights[number])[:_TOLD]
    told = [f"{tokens[n]!r} {weights[n]:.0%}" for n in order if weights[n] >= _LITTLE]
    return f"at {', '.join(told)}" if told else "at nothing"


def cells(heat: Heat, indent: float, y: float, *, told: bool) -> Iterator[str]:
    """The elements of the map, below a drawing: y is where it begins.

    told: each cell says what it is, which takes room; else those of one shade are one element.
    """
    first = y + heat.top
    columns = list(_columns(heat, indent))
    yield '<g transform="rotate(-90)">'  # tokens stand upright: x grows upward, y to the right
    for prompt, number, x in columns:
        token = escape(visible(repr(heat.tokens[prompt][number])))
        yield f'<text x="{4 - first:g}" y="{x + CELL / 2 + 4:g}">{token}</text>'
    yield "</g>"
    for place, head in enumerate(heat.heads):
        yield _named(head.head, indent, first + place * _BAND + 22)
        yield from _arcs(heat, head, columns, first + place * _BAND + 2, told=told)
    first += len(heat.heads) * _BAND
    shared: dict[tuple[str, int], str] = {}  # what is drawn at once, by sign and level
    for place, row in enumerate(heat.rows):
        top = first + place * CELL
        yield _named(row.node, indent, top + 13)
        most = max((abs(v) for values in row.values for v in values if isfinite(v)), default=0.0)
        for prompt, number, x in columns if most else ():
            value = row.values[prompt][number]
            share, sign = abs(value) / most, "cold" if value < 0 else "hot"
            if not share >= _FAINT or not isfinite(value):
                continue
            if told:
                text = escape(
                    visible(f"{row.node} at {heat.tokens[prompt][number]!r}: {value:+.3g}")
                )
                yield (
                    f'<rect class="{sign}" x="{x:g}" y="{top:g}" width="{CELL - 1:g}" '
                    f'height="{CELL - 1:g}" fill-opacity="{share:.2f}"><title>{text}</title></rect>'
                )
            else:
                shade = sign, ceil(share * _LEVELS)
                shared[shade] = f"{shared.get(shade, '')}M{x:g} {top + CELL / 2:g}h{CELL - 1:g}"
    for (sign, level), path in shared.items():
        yield f'<path class="{sign} cells" stroke-opacity="{level / _LEVELS:g}" d="{path}"/>'


def _named(name: str, indent: float, y: float) -> str:
    return f'<text class="name" x="{indent - 10:g}" y="{y:g}">{escape(visible(name))}</text>'


def _arcs(
    heat: Heat, head: Attends, columns: Sequence[_Column], y: float, *, told: bool
) -> Iterator[str]:
    """Arcs that hang from the tokens: from the last one of a prompt to what the head attends to."""
    shared: dict[int, str] = {}  # what is drawn at once, by level
    for prompt, tokens in enumerate(heat.tokens):
        places = [x + CELL / 2 for of, _, x in columns if of == prompt]
        for number, weight in enumerate(head.weights[prompt]):
            if not weight >= _LITTLE:
                continue
            path = _arc(places[number], places[-1], places[0], y)
            level = ceil(min(weight, 1.0) * _LEVELS)
            if told:
                text = f"{head.head} looks from {tokens[-1]!r} at {tokens[number]!r}: {weight:.0%}"
                yield (
                    f'<path class="arc" stroke-width="{_THIN + _THICK * min(weight, 1.0):.1f}" '
                    f'd="{path}">'
                    f"<title>{escape(visible(text))}</title></path>"
                )
            else:
                shared[level] = shared.get(level, "") + path
    for level, path in shared.items():
        width = _THIN + _THICK * level / _LEVELS
        yield f'<path class="arc" stroke-width="{width:.1f}" d="{path}"/>'


def _arc(x: float, end: float, first: float, y: float) -> str:
    """From the last token to another one, the deeper the further; or a loop below itself."""
    if x == end:
        return f"M{x - 3:g} {y:g}c-6 15 12 15 6 0"
    deep = 2 * (_BAND - 8) * (0.3 + 0.7 * (end - x) / (end - first))
    return f"M{end:g} {y:g}q{(x - end) / 2:g} {deep:.0f} {x - end:g} 0"


def _columns(heat: Heat, indent: float) -> Iterator[_Column]:
    """Prompt, token and place from the left of each column."""
    x = indent
    for prompt, tokens in enumerate(heat.tokens):
        for number in range(len(tokens)):
            yield prompt, number, x
            x += CELL
        x += _BETWEEN
