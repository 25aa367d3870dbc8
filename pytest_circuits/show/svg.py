"""The drawing of a circuit as SVG: layers upward, a row a site, a box a node.

A solid line is a weight above zero, a dashed one below it, the wider the larger; a dotted line is a
channel of the residual stream that both ends share. Where there are too many nodes for boxes of
their own, a site is one box, and a line stands for all between two sites.

Places are in user units; y grows downward, as in SVG.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from math import log2
from xml.sax.saxutils import escape, quoteattr

from pytest_circuits.show.drawing import Drawing, label_of, site_of
from pytest_circuits.show.heat import Heat, cells
from pytest_circuits.spec.problems import visible

MOST_BOXES = 150  # nodes that are drawn one by one
MOST_LINES = 300  # the same, of lines
_PER_LINE = 16  # nodes side by side
_BOX, _HIGH, _GAP, _UP = 46.0, 22.0, 10.0, 34.0  # width, height, between boxes, between rows
_EDGE, _WIDE = 1.2, 3.5  # the narrowest line, and how much wider the widest one is
_SITE = 7.2  # width of a letter of a site's name, about
_SIDE = 10.0
_LISTED = 110  # characters of a line of channels
_LIGHT = "--paper:#fff;--card:#f6f7f9;--ink:#1b1f24;--soft:#57606a;--plus:#0a5fb4;--minus:#b04a00"
_DARK = "--paper:#0f1419;--card:#171d24;--ink:#e6edf3;--soft:#9aa7b4;--plus:#6cb6ff;--minus:#ffa657"


@dataclass(frozen=True, slots=True)
class _Box:
    x: float  # of its middle
    y: float  # of its top
    width: float
    label: str
    title: str


@dataclass(frozen=True, slots=True)
class _Joint:
    start: str
    end: str
    style: str  # "plus", "minus", "wire" or "stream"
    size: float  # of 1
    title: str


def css() -> str:
    """The style of a drawing, for a page that holds it; colours are the page's variables."""
    return (files("pytest_circuits.show") / "picture.css").read_text(encoding="utf-8")


def file_of(drawing: Drawing, *, title: str, heat: Heat | None = None) -> str:
    """A file of its own: with its style, light and dark, and the nodes of large sites listed.

    heat: what the nodes carry at the tokens of two prompts, drawn below.
    """
    light = f"svg{{{_LIGHT};background:var(--paper)}}"
    dark = f"@media(prefers-color-scheme:dark){{svg{{{_DARK}}}}}"
    return svg(drawing, title=title, style=light + dark + css(), listed=True, heat=heat) + "\n"


def svg(
    drawing: Drawing,
    *,
    title: str,
    style: str = "",
    listed: bool = False,
    heat: Heat | None = None,
) -> str:
    """The drawing as an element; style: what it is to bring with it.

    listed: nodes of large sites in words too, and what each cell of the heat map is.
    """
    grouped = is_grouped(drawing)
    lines = list(_lines(drawing, grouped=grouped))
    indent = max((len(visible(name)) for name, _ in lines), default=0) * _SITE + 2 * _SIDE
    boxes, width, height = _placed(drawing, lines, indent, grouped=grouped)
    joints = list(_grouped_joints(drawing) if grouped else _joints(drawing))
    texts = _channels(drawing) if listed and grouped else []
    bottom = height + 18.0 * len(texts) + (8 if texts else 0)
    width = max(width, *(7.0 * len(text) for text in texts)) if texts else width
    named = [*(row.node for row in heat.rows), *(each.head for each in heat.heads)] if heat else []
    names = max((len(visible(name)) for name in named), default=0)
    room, start = names * _SITE + 2 * _SIDE, bottom
    if heat:
        wide, high = heat.size(room)
        width, bottom = max(width, wide), bottom + high + _SIDE
    shape = f'viewBox="0 0 {width:g} {bottom:g}" width="{width:g}" height="{bottom:g}"'
    role = f'class="drawing" role="img" aria-label={quoteattr(visible(title))}'
    return "".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" {role} {shape}>',
            f"<style>{style}</style>" if style else "",
            *(_line(joint, boxes) for joint in joints),
            *(_name(name, y) for name, y in _names(lines, boxes, indent)),
            *map(_box, boxes.values()),
            *(
                f'<text x="{_SIDE:g}" y="{height + 16 + 18 * place:g}">{escape(text)}</text>'
                for place, text in enumerate(texts)
            ),
            *(cells(heat, room, start, told=listed) if heat else ()),
            "</svg>",
        )
    )


def is_grouped(drawing: Drawing) -> bool:
    """Whether there are too many nodes or lines to draw each."""
    return len(drawing.nodes) > MOST_BOXES or len(drawing.edges) + len(drawing.stream) > MOST_LINES


def sites(drawing: Drawing) -> dict[str, list[str]]:
    """The nodes by site, in forward order."""
    found: dict[str, list[str]] = {}
    for node in drawing.nodes:
        found.setdefault(site_of(node), []).append(node)
    return found


def caption(drawing: Drawing) -> str:
    """What is seen, in a sentence, for who does not see it."""
    nodes, rows = len(drawing.nodes), len(sites(drawing))
    return f"{nodes} nodes at {rows} sites, {len(drawing.edges)} edges"


def _lines(drawing: Drawing, *, grouped: bool) -> Iterator[tuple[str, list[str]]]:
    """What stands side by side, from the bottom up; a long row goes on above itself."""
    for site, nodes in sites(drawing).items():
        keys = [site] if grouped else nodes
        for start in range(0, len(keys), _PER_LINE):
            yield site, keys[start : start + _PER_LINE]


def _placed(
    drawing: Drawing, lines: Sequence[tuple[str, list[str]]], indent: float, *, grouped: bool
) -> tuple[dict[str, _Box], float, float]:
    """Where each box stands, and how wide and high the whole is."""
    size = 150.0 if grouped else _BOX
    most = max((len(keys) for _, keys in lines), default=0)
    middle = indent + most * (size + _GAP) / 2
    before: dict[str, list[str]] = {}
    for start, end in (*drawing.edges, *drawing.stream):
        before.setdefault(end, []).append(start)
    heights = [_HIGH + (_UP if last else 4.0) for last in _last_of_rows(lines)]
    height = sum(heights) + _SIDE
    boxes: dict[str, _Box] = {}
    counts = {site: len(nodes) for site, nodes in sites(drawing).items()}
    y = height - _SIDE - _HIGH
    for (_, keys), step in zip(lines, heights, strict=True):
        ordered = sorted(keys, key=lambda key: _pull(key, before, boxes, middle))
        left = middle - (len(keys) - 1) * (size + _GAP) / 2
        for place, key in enumerate(ordered):
            label = f"{counts[key]} nodes" if grouped else label_of(key)
            title = visible(key) if grouped else ""  # a node's row says where it is
            boxes[key] = _Box(left + place * (size + _GAP), y, size, label, title)
        y -= step
    return boxes, indent + most * (size + _GAP) + _SIDE, height


def _last_of_rows(lines: Sequence[tuple[str, list[str]]]) -> list[bool]:
    names = [name for name, _ in lines]
    return [name != after for name, after in zip(names, [*names[1:], None], strict=True)]


def _pull(
    key: str, before: Mapping[str, list[str]], boxes: Mapping[str, _Box], middle: float
) -> float:
    """Where what leads to a box stands, so that few lines cross."""
    found = [boxes[start].x for start in before.get(key, ()) if start in boxes]
    return sum(found) / len(found) if found else middle


def _joints(drawing: Drawing) -> Iterator[_Joint]:
    largest = max(map(abs, drawing.weights), default=0.0) or 1.0
    for place, (start, end) in enumerate(drawing.edges):
        weight = drawing.weights[place] if drawing.weights else None
        style = "wire" if weight is None else "minus" if weight < 0 else "plus"
        size = 0.0 if weight is None else abs(weight) / largest
        told = "" if weight is None else f": {weight:+.3g}"
        yield _Joint(start, end, style, size, f"{start} → {end}{told}")
    for start, end in drawing.stream:
        yield _Joint(start, end, "stream", 0.0, f"{start} is read by {end}")


def _grouped_joints(drawing: Drawing) -> Iterator[_Joint]:
    for pairs, style, what in (
        (drawing.edges, "wire", "edges"),
        (drawing.stream, "stream", "shared"),
    ):
        found = Counter((site_of(start), site_of(end)) for start, end in pairs)
        most = max(found.values(), default=1)
        for (start, end), count in found.items():
            size = log2(1 + count) / log2(1 + most)
            yield _Joint(start, end, style, size, f"{start} → {end}: {count} {what}")


def _line(joint: _Joint, boxes: Mapping[str, _Box]) -> str:
    start, end = boxes[joint.start], boxes[joint.end]
    y, to = start.y, end.y + _HIGH
    bend = (y + to) / 2
    width = "" if joint.style == "stream" else f' stroke-width="{_EDGE + _WIDE * joint.size:.1f}"'
    path = f"M{start.x:g} {y:g}C{start.x:g} {bend:g} {end.x:g} {bend:g} {end.x:g} {to:g}"
    title = escape(visible(joint.title))
    return f'<path class="{joint.style}"{width} d="{path}"><title>{title}</title></path>'


def _box(box: _Box) -> str:
    return (
        f'<g class="node">{f"<title>{escape(box.title)}</title>" * bool(box.title)}'
        f'<rect x="{box.x - box.width / 2:g}" y="{box.y:g}" width="{box.width:g}" '
        f'height="{_HIGH:g}" rx="5"/>'
        f'<text x="{box.x:g}" y="{box.y + 15:g}">{escape(box.label)}</text></g>'
    )


def _names(
    lines: Sequence[tuple[str, list[str]]], boxes: Mapping[str, _Box], indent: float
) -> Iterator[tuple[str, tuple[float, float]]]:
    """Each site's name, left of its lowest line."""
    for place, (name, keys) in enumerate(lines):
        if not place or lines[place - 1][0] != name:
            yield name, (indent - _SIDE, boxes[keys[0]].y + 15)


def _name(name: str, at: tuple[float, float]) -> str:
    return f'<text class="name" x="{at[0]:g}" y="{at[1]:g}">{escape(visible(name))}</text>'


def _channels(drawing: Drawing) -> list[str]:
    """The nodes of each site in words, in lines that are not too long."""
    found = []
    for site, nodes in sites(drawing).items():
        line = f"{visible(site)}:"
        for node in nodes:
            if len(line) + len(label_of(node)) > _LISTED:
                found.append(line)
                line = "   "
            line += f" {label_of(node)}"
        found.append(line)
    return found
