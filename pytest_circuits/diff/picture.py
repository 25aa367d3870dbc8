"""Changes as one SVG: a panel a circuit, its nodes by hook point, before as rings, after as discs.

The area of a ring or disc is the size of a node's effect, the colour of the disc how alike its
signal is. It needs no other file and runs no script.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import sqrt
from textwrap import wrap
from xml.sax.saxutils import escape

from pytest_circuits.diff.change import Change, Kind
from pytest_circuits.diff.measure import Measured

COLUMN, ROW, MARGIN, HEAD = 118, 52, 24, 74
NARROWEST, LINE, LETTER = 640, 17, 6  # of a panel, and of its text
RADIUS = 17.0  # of the largest effect
LEAST = 2.0  # of a node without any
CHIP = 92  # wide enough for the longest word
ALIKE, UNLIKE = (31, 119, 180), (217, 95, 2)  # told apart by colour-blind readers too
_CHIPS = {
    Kind.KEPT: "#1b7837",
    Kind.WEAKENED: "#b8860b",
    Kind.MOVED: "#1f77b4",
    Kind.REPLACED: "#b2182b",
    Kind.GONE: "#4d4d4d",
}
_STYLE = (
    "text{font:12px ui-sans-serif,system-ui,sans-serif;fill:#222}.hook{font-size:11px;fill:#666}"
    ".name{font-size:15px;font-weight:600}.title{font-size:17px;font-weight:600}"
    ".chip{fill:#fff;font-weight:600;text-anchor:middle}.edge{stroke:#bbb;fill:none}"
    ".ring{fill:none;stroke:#222;stroke-width:1.3}.small{font-size:10px;fill:#444;"
    "text-anchor:middle;paint-order:stroke;stroke:#fff;stroke-width:3px}"
)


def picture(changes: Sequence[tuple[Measured, Change]], *, title: str) -> str:
    panels = [_Panel(measured, change) for measured, change in changes]
    width = max(panel.width for panel in panels)
    top, body = HEAD, []
    for panel in panels:
        body.append(f'<g transform="translate(0 {top})">{"".join(panel.parts())}</g>')
        top += panel.height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}" '
        f'height="{top}" role="img"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f'<rect width="100%" height="100%" fill="#fff"/>'
        f'<text class="title" x="{MARGIN}" y="30">{escape(title)}</text>{_legend()}'
        f"{''.join(body)}</svg>\n"
    )


def _legend() -> str:
    y, x = 52, MARGIN + 8
    return (
        f'<circle class="ring" cx="{x}" cy="{y}" r="7"/>'
        f'<text x="{x + 14}" y="{y + 4}">effect before</text>'
        f'<circle cx="{x + 120}" cy="{y}" r="7" fill="{_colour(1)}"/>'
        f'<text x="{x + 134}" y="{y + 4}">after, the same signal</text>'
        f'<circle cx="{x + 290}" cy="{y}" r="7" fill="{_colour(0)}"/>'
        f'<text x="{x + 304}" y="{y + 4}">after, another signal</text>'
    )


class _Panel:
    def __init__(self, measured: Measured, change: Change) -> None:
        self.measured, self.change = measured, change
        nodes = [*measured.match.there]
        held = [hook for hook in measured.hook_points if hook in dict(nodes)]
        self.columns = {hook: [channel for at, channel in nodes if at == hook] for hook in held}
        self.width = max(NARROWEST, MARGIN * 2 + COLUMN * len(held))
        self.told = wrap(change.reason, (self.width - 2 * MARGIN) // LETTER)
        self.top = 50 + LINE * len(self.told)
        self.height = self.top + 30 + ROW * max(map(len, self.columns.values()))

    def parts(self) -> Iterator[str]:
        """The elements, back to front."""
        name, kind = self.measured.loaded.spec.circuit, self.change.kind
        yield (
            f'<rect x="{MARGIN}" y="8" width="{CHIP}" height="20" rx="10" fill="{_CHIPS[kind]}"/>'
            f'<text class="chip" x="{MARGIN + CHIP // 2}" y="22">{kind}</text>'
            f'<text class="name" x="{MARGIN + CHIP + 10}" y="23">{escape(name)}</text>'
        )
        for number, line in enumerate(self.told):
            yield f'<text x="{MARGIN}" y="{45 + LINE * number}">{escape(line)}</text>'
        for column, hook in enumerate(self.columns):
            left = self._x(column) - 30
            yield f'<text class="hook" x="{left}" y="{self.top}">{escape(hook)}</text>'
        yield from self._edges()
        yield from self._nodes()

    def _x(self, column: int) -> int:
        return MARGIN + 30 + COLUMN * column

    def _at(self, hook: str, channel: int) -> tuple[int, int]:
        column = [*self.columns].index(hook)
        return self._x(column), self.top + 30 + ROW * self.columns[hook].index(channel)

    def _edges(self) -> Iterator[str]:
        for (source, target), (i, j) in self.measured.edges:
            (x1, y1), (x2, y2) = self._at(source, i), self._at(target, j)
            middle = (x1 + x2) / 2
            yield (f'<path class="edge" d="M{x1} {y1}C{middle:g} {y1} {middle:g} {y2} {x2} {y2}"/>')

    def _nodes(self) -> Iterator[str]:
        before, now = self.measured.before.effects, self.change.now
        largest = max(float(abs(before).max()), 1e-9)
        if now is not None:
            largest = max(largest, float(abs(now.side.effects).max()))
        for i, ((hook, channel), there) in enumerate(self.measured.match.there.items()):
            x, y = self._at(hook, channel)
            name, told = str(channel), f"{self.measured.node_ids[i]}: effect {before[i]:+.2f}"
            size = ring = _radius(float(before[i]), largest)
            disc = ""
            if now is not None:
                after, alike = float(now.side.effects[i]), float(now.seen.alike[i])
                told += f" -> {after:+.2f} nats, signal {alike:.2f}"
                size = _radius(after, largest)
                disc = f'<circle cx="{x}" cy="{y}" r="{size:.1f}" fill="{_colour(alike)}"/>'
            if now is not None and now is self.measured.found and there != (hook, channel):
                name += f" \u2192 {there[1]}"
                told += f", now at {there[0]}[{there[1]}]"
            yield (
                f"<g><title>{escape(told)}</title>{disc}"
                f'<circle class="ring" cx="{x}" cy="{y}" r="{ring:.1f}"/>'
                f'<text class="small" x="{x}" y="{y + max(ring, size) + 11:.0f}">{name}</text></g>'
            )


def _radius(effect: float, largest: float) -> float:
    return max(LEAST, RADIUS * sqrt(abs(effect) / largest))


def _colour(alike: float) -> str:
    share = min(max(alike, 0.0), 1.0)
    mixed = (round(u + share * (a - u)) for a, u in zip(ALIKE, UNLIKE, strict=True))
    return f"rgb({','.join(map(str, mixed))})"
