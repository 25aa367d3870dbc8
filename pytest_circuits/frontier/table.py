"""A sweep as a table, and as a picture: loss from below, circuit size from the left."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from statistics import median

from pytest_circuits.errors import UsageError
from pytest_circuits.frontier.sweep import Point

PICTURE = "frontier.svg"
TABLE = "frontier.md"


def table(points: Sequence[Point]) -> str:
    """A sweep in Markdown: a row a model, a column a circuit; nodes, and edges after a stroke."""
    circuits = [size.circuit for size in points[0].sizes] if points else []
    head = ["model", "nonzero weights", "bits per byte", "median nodes", "found", *circuits]
    rows = [head, ["---"] * len(head)]
    for point in points:
        sizes = {size.circuit: size for size in point.sizes}
        found = [size.nodes for size in point.sizes if size.nodes is not None]
        rows.append(
            [
                point.name,
                "-" if point.weights is None else f"{point.weights:,}",
                f"{point.bits_per_byte:.3f}",
                f"{median(found):g}" if found else "-",
                f"{len(found)} of {len(point.sizes)}",
                *(
                    _cell(sizes[name].nodes, sizes[name].edges) if name in sizes else ""
                    for name in circuits
                ),
            ]
        )
    lines = [f"| {' | '.join(row)} |" for row in rows]
    missing = [
        f"- {point.name}, {size.circuit}: {size.why.removeprefix(f'{size.circuit}: ')}"
        for point in points
        for size in point.sizes
        if size.nodes is None
    ]
    return "\n".join([*lines, *(["", "Not found:", "", *missing] if missing else []), ""])


def _cell(nodes: int | None, edges: int | None) -> str:
    if nodes is None:
        return "none"
    return f"{nodes}" if edges is None else f"{nodes} / {edges}"


def picture(points: Sequence[Point]) -> str:
    """A sweep as SVG: each circuit a dot, the median of a model a labelled ring.

    Raises UsageError where matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context  # noqa: PLC0415  (half a second, and an extra)
        from matplotlib.figure import Figure  # noqa: PLC0415
        from matplotlib.ticker import LogLocator, NullFormatter  # noqa: PLC0415
    except ImportError:
        raise UsageError(
            "the picture is drawn by matplotlib: pip install 'pytest-circuits[frontier]'"
        ) from None
    with rc_context({"svg.hashsalt": "frontier", "svg.fonttype": "none", "font.size": 11}):
        figure = Figure(figsize=(7, 4.5), layout="constrained")
        axes = figure.add_subplot()
        for number, point in enumerate(points):
            found = [size.nodes for size in point.sizes if size.nodes is not None]
            colour = f"C{number}"
            if found:
                axes.scatter(found, [point.bits_per_byte] * len(found), s=14, c=colour, alpha=0.6)
                middle = median(found)
                axes.scatter([middle], [point.bits_per_byte], s=90, fc="none", ec=colour, lw=2)
                axes.annotate(
                    f"{point.name} ({len(found)} of {len(point.sizes)})",
                    (middle, point.bits_per_byte),
                    xytext=(0, 9),
                    textcoords="offset points",
                    ha="center",
                )
        axes.set_xscale("log")
        axes.set_xlabel(
            "nodes of a circuit that meets the claims (ring: median; of found circuits)"
        )
        axes.set_ylabel("loss on held-out text, bits per byte")
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.25, y=0.15)  # names stand above rings and to both sides of them
        drawn = StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": "pytest-circuits"})
    return drawn.getvalue()
