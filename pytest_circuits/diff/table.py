"""A change as text for a terminal: one line that says it, then the rates, then node by node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap

from pytest_circuits.circuit.nodes import node_id
from pytest_circuits.claims.evidence import percent
from pytest_circuits.diff.change import Change
from pytest_circuits.diff.measure import Measured

WIDTH, INDENT = 100, "  "


def change_lines(measured: Measured, change: Change) -> list[str]:
    lines = [f"{measured.loaded.spec.circuit}: {change.kind}"]
    lines += _wrapped(change.reason)
    lines += ["", *_table(_rates(measured, change), numbers=2)]
    if change.now is not None:
        lines += ["", *_table(_nodes(measured, change), numbers=3)]
    return lines


def _wrapped(text: str) -> list[str]:
    """A text as indented lines; numbers keep their percent sign."""
    kept = text.replace(" %", "\xa0%")
    lines = wrap(kept, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT)
    return [line.replace("\xa0", " ") for line in lines]


def _rates(measured: Measured, change: Change) -> Iterator[tuple[str, ...]]:
    before, now = measured.before, change.now
    yield "", "before", "after"
    yield "whole model prefers the answer", *map(percent, measured.behaves)
    sides = [before, now.side if now else None]
    yield "the circuit alone does", *(percent(s.alone) if s else "-" for s in sides)
    yield "the model without it does", *(percent(s.without) if s else "-" for s in sides)
    yield (
        "the circuit alone tells apart",
        *(f"{s.separation:.2f} nats" if s else "-" for s in sides),
    )
    if now is None:
        return
    seen = now.seen
    yield "the whole model does", *(f"{nats:.2f} nats" for nats in seen.whole)
    yield "identity: signals, weighted by effects", "", f"{seen.identity:.2f}"
    yield "identity: least of nodes that do much", "", f"{seen.each:.2f}"
    if len(seen.apart):
        yield "identity: attention moves by", "", f"{seen.apart.max():.2f}"
    if seen.effects is not None:
        yield "effects: ranked as before by", "", f"{seen.effects:.2f}"
    yield "effects: shares of preference move by", "", percent(float(seen.moved.max()))
    if seen.lineage is not None:
        yield "lineage: channels all over the models", "", f"{seen.lineage:.2f}"


def _nodes(measured: Measured, change: Change) -> Iterator[tuple[str, ...]]:
    now = change.now
    assert now is not None  # noqa: S101
    moved = now is measured.found
    yield "node", "effect before", "after", "signal", *(["now at"] if moved else [])
    addresses = [node_id(*node) for node in measured.match.there.values()]
    for i, name in enumerate(measured.node_ids):
        before, after = measured.before.effects[i], now.side.effects[i]
        row = (name, f"{before:+.2f}", f"{after:+.2f}", f"{now.seen.alike[i]:.2f}")
        yield (*row, *([addresses[i]] if moved else []))


def _table(rows: Iterator[tuple[str, ...]], *, numbers: int) -> list[str]:
    """Aligned rows: the first column to the left, then so many columns of numbers to the right."""
    found: Sequence[tuple[str, ...]] = list(rows)
    widths = [max(map(len, column)) for column in zip(*found, strict=True)]
    lines = []
    for row in found:
        cells = [
            cell.rjust(width) if 0 < place <= numbers else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(f"{INDENT}{'  '.join(cells)}".rstrip())
    return lines
