"""All claims of a run as a matrix: a row for each circuit, a column for each kind of claim."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_circuits.report.run import Circuit, Result, Run


@dataclass(frozen=True, slots=True)
class Row:
    """A circuit, and the result of each claim; None: it does not make that claim."""

    circuit: Circuit
    cells: tuple[Result | None, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    claims: tuple[str, ...]  # the columns, in the order of the glossary; unknown ones last
    rows: tuple[Row, ...]


def matrix(run: Run) -> Matrix:
    """The results of a run by circuit and claim; only claims that are made have a column."""
    found = {(result.circuit, result.evidence.claim): result for result in run.results}
    made = dict.fromkeys(claim for _, claim in found)
    claims = sorted(made, key=lambda name: (name not in run.claims, run.meaning_of(name).order))
    rows = (Row(each, tuple(found.get((each.name, k)) for k in claims)) for each in run.circuits)
    return Matrix(tuple(claims), tuple(rows))
