"""The drawing of a circuit as DOT, for Graphviz: layers upward, as in the SVG.

Where there are too many nodes for boxes of their own, a site is one box, and a line stands for all
between two sites.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from pytest_circuits.show.drawing import Drawing, site_of
from pytest_circuits.show.svg import is_grouped, sites
from pytest_circuits.spec.problems import visible

BEGINS = "digraph"
_STREAM = "style=dotted"


def dot(drawing: Drawing, *, title: str) -> str:
    """The text of a file; title: what is seen, as in the SVG."""
    rows, grouped = sites(drawing), is_grouped(drawing)
    lines = [f"{BEGINS} circuit {{", f"  label={_quoted(title)};", "  rankdir=BT;"]
    lines.append("  node [shape=box];")
    for name, nodes in rows.items():
        if grouped:
            lines.append(f"  {_quoted(name)} [label={_quoted(f'{name}: {len(nodes)} nodes')}];")
            continue
        lines.append("  {rank=same;")
        lines += [f"    {_quoted(node)} [label={_quoted(node)}];" for node in nodes]
        lines.append("  }")
    # A line that is not seen keeps a row above the one before it, where nothing joins them.
    first = [name if grouped else nodes[0] for name, nodes in rows.items()]
    lines += [
        f"  {_quoted(low)} -> {_quoted(high)} [style=invis];" for low, high in pairwise(first)
    ]
    lines += _sums(drawing) if grouped else _lines(drawing)
    return "\n".join([*lines, "}"]) + "\n"


def _lines(drawing: Drawing) -> Iterator[str]:
    for place, (start, end) in enumerate(drawing.edges):
        said = ""
        if drawing.weights:
            weight = drawing.weights[place]
            style = "dashed" if weight < 0 else "solid"
            said = f' [tooltip="{weight:.4g}", style={style}]'
        yield f"  {_quoted(start)} -> {_quoted(end)}{said};"
    for start, end in drawing.stream:
        yield f"  {_quoted(start)} -> {_quoted(end)} [{_STREAM}];"


def _sums(drawing: Drawing) -> Iterator[str]:
    for pairs, style in ((drawing.edges, "style=solid"), (drawing.stream, _STREAM)):
        found = Counter((site_of(start), site_of(end)) for start, end in pairs)
        for (start, end), count in found.items():
            yield f'  {_quoted(start)} -> {_quoted(end)} [label="{count}", {style}];'


def _quoted(text: str) -> str:
    r"""A string of DOT: `"` and `\` escaped, and nothing in it that a terminal would obey."""
    escaped = visible(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
