"""Runs over time as one page: what each version of a model showed, circuit by circuit.

The runs stand in the order in which they are given, the oldest first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pytest_circuits.report import words
from pytest_circuits.report.grade import grade
from pytest_circuits.report.html import rendered
from pytest_circuits.report.page import mark_of_run
from pytest_circuits.report.page_claim import Mark, mark_of
from pytest_circuits.report.run import Circuit, Result, Run, Tool
from pytest_circuits.report.safe_text import number

_FIGURES = {  # measures that are followed besides the rates, by claim
    "sufficient": {"task_loss": "task loss alone, nats"},
    "stable": {
        "preference": "preference of the whole model, nats",
        "preference_alone": "preference of the circuit alone, nats",
    },
}
_WIDE, _HIGH, _SIDE = 120.0, 28.0, 4.0  # of a curve


@dataclass(frozen=True, slots=True)
class Version:
    """One run: where its evidence lies, and what it came to."""

    source: str
    models: tuple[str, ...]
    started: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class Cell:
    mark: Mark | None  # None: a figure, of which nothing is decided
    text: str
    changed: str = ""  # what the version before said, where that was another verdict


@dataclass(frozen=True, slots=True)
class Curve:
    """A figure over the versions that have it, in a drawing of its own."""

    path: str
    dots: tuple[tuple[float, float], ...]
    threshold: float | None  # from the top
    label: str


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    cells: tuple[Cell | None, ...]  # of each version; None: it says nothing
    curve: Curve | None


@dataclass(frozen=True, slots=True)
class Followed:
    """One circuit over the versions."""

    name: str
    description: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class History:
    versions: tuple[Version, ...]
    circuits: tuple[Followed, ...]
    changes: tuple[str, ...]  # from the version before to the last one


def history_page(runs: Sequence[tuple[str, Run]]) -> str:
    """The page of runs, each with where its evidence lies."""
    return rendered("history.html.jinja", history=history_of(runs), tool=Tool())


def history_of(runs: Sequence[tuple[str, Run]]) -> History:
    """What changed from run to run; the circuits in the order in which they are first met."""
    every = [run for _, run in runs]
    names = dict.fromkeys(circuit.name for run in every for circuit in run.circuits)
    circuits = tuple(_followed(name, every) for name in names)
    return History(
        versions=tuple(_version(source, run) for source, run in runs),
        circuits=circuits,
        changes=tuple(_changes(circuits)),
    )


def _version(source: str, run: Run) -> Version:
    models = dict.fromkeys(f"{c.model.path} ({c.model.digest[:12]})" for c in run.circuits)
    return Version(source, tuple(models), run.started, mark_of_run(run))


def _followed(name: str, runs: Sequence[Run]) -> Followed:
    found = [next((c for c in run.circuits if c.name == name), None) for run in runs]
    results = [{r.evidence.claim: r for r in run.results if r.circuit == name} for run in runs]
    claims = dict.fromkeys(claim for each in results for claim in each)
    rows = [_row_of_grades(found, runs), _row_of_sizes(found)]
    for claim in claims:
        rows.append(_row_of_claim(claim, [each.get(claim) for each in results]))
        for measure, figure in _FIGURES.get(claim, {}).items():
            values = [_measure(each.get(claim), measure) for each in results]
            rows.append(_row_of_figure(figure, values))
    description = next((c.description for c in reversed(found) if c and c.description), "")
    return Followed(name, description, tuple(row for row in rows if any(row.cells)))


def _row_of_grades(found: Sequence[Circuit | None], runs: Sequence[Run]) -> Row:
    levels = [grade(c, run).level.value if c else "" for c, run in zip(found, runs, strict=True)]
    return Row("grade", _compared([Cell(None, text) if text else None for text in levels]), None)


def _row_of_sizes(found: Sequence[Circuit | None]) -> Row:
    cells = [Cell(None, f"{c.nodes} nodes, {c.edges} edges") if c else None for c in found]
    return Row("size", _compared(cells), None)


def _row_of_claim(claim: str, results: Sequence[Result | None]) -> Row:
    cells = [_cell(result) if result else None for result in results]
    rates = [result.evidence.rate if result else None for result in results]
    shares = [rate.estimate if rate else None for rate in rates]
    limit = next((rate.threshold for rate in reversed(rates) if rate), None)
    return Row(claim, _compared(cells), _curve(shares, limit, words.share))


def _row_of_figure(figure: str, values: Sequence[float | None]) -> Row:
    cells = [None if value is None else Cell(None, number(value, ".3g")) for value in values]
    return Row(figure, tuple(cells), _curve(values, None, lambda x: number(x, ".3g")))


def _cell(result: Result) -> Cell:
    rate = result.evidence.rate
    return Cell(mark_of(result), words.share(rate.estimate) if rate else "")


def _compared(cells: Sequence[Cell | None]) -> tuple[Cell | None, ...]:
    """The cells, each with what the last one before it said, where that was something else."""
    found: list[Cell | None] = []
    before: Cell | None = None
    for cell in cells:
        if cell and before and _said(cell) != _said(before):
            found.append(Cell(cell.mark, cell.text, _said(before)))
        else:
            found.append(cell)
        before = cell or before
    return tuple(found)


def _said(cell: Cell) -> str:
    return cell.mark.word if cell.mark else cell.text


def _changes(circuits: Sequence[Followed]) -> Iterator[str]:
    """What the last version says otherwise, and what it does not say any more."""
    for circuit in circuits:
        if not any(row.cells[-1] for row in circuit.rows):
            yield f"{circuit.name}: was gated before, and is not in the last version"
            continue
        for row in circuit.rows:
            last = row.cells[-1]
            if last and last.changed:
                share = f" ({last.text})" if last.mark and last.text else ""
                yield f"{circuit.name}: {row.name}: {last.changed} before, now {_said(last)}{share}"
            elif not last and any(cell and cell.mark for cell in row.cells):
                yield f"{circuit.name}: {row.name}: was claimed before, and is not any more"


def _measure(result: Result | None, name: str) -> float | None:
    return result.evidence.measures.get(name) if result else None


def _curve(
    values: Sequence[float | None], limit: float | None, show: Callable[[float], str]
) -> Curve | None:
    """The figure over the versions; None where fewer than two have it."""
    there = [(place, x) for place, x in enumerate(values) if x is not None and math.isfinite(x)]
    if len(there) < 2:
        return None
    limits = [limit] if limit is not None and math.isfinite(limit) else []
    shown = [x for _, x in there] + limits
    low, high = min(shown), max(shown)

    def height(value: float) -> float:
        inside = (value - low) / (high - low) if high > low else 0.5
        return round(_HIGH - _SIDE - inside * (_HIGH - 2 * _SIDE), 1)

    step = (_WIDE - 2 * _SIDE) / max(1, len(values) - 1)
    dots = tuple((round(_SIDE + step * place, 1), height(x)) for place, x in there)
    told = ", ".join(show(x) for _, x in there)
    needed = f"; needed {show(limits[0])}" if limits else ""
    return Curve(
        path="M" + "L".join(f"{x:g} {y:g}" for x, y in dots),
        dots=dots,
        threshold=height(limits[0]) if limits else None,
        label=f"{told}{needed}",
    )
