"""The summary of a run: one aligned row per claim, and the gate's verdict in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.errors import told
from pytest_circuits.report import words
from pytest_circuits.report.grade import grade, warning
from pytest_circuits.report.run import Result, Run, State
from pytest_circuits.report.safe_text import clean, wrapped

_MANY = 5  # circuits that the last line names before it only counts


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a line, with its terminal markup."""

    text: str
    markup: dict[str, bool] = field(default_factory=dict)


Line = tuple[Span, ...]


def summary(run: Run, *, width: int, verbose: bool, ascii_only: bool = False) -> list[Line]:
    shown = [result for result in run.results if result.is_told]
    table = _table(shown, ascii_only=ascii_only)
    lines: list[Line] = []
    for position, row in enumerate(table):
        result = shown[position - 1] if position else None
        lines.append(row)
        if result and result.waived:
            lines += _paragraph(words.waived(result.waived), indent=4, width=width)
        if result and (verbose or result.state is not State.RAN):
            lines += _paragraph(result.evidence.reason, indent=4, width=width)
        elif result:
            lines += _paragraph(words.why(result), indent=4, width=width)
    if table:
        lines += [(), *_grades(run, width=width, verbose=verbose), ()]
    lines += _paragraph(warning(run), indent=0, width=width, markup={"yellow": True})
    for note in run.notes:
        lines += _paragraph(note, indent=0, width=width)
    for problem in told(run.problems):
        lines += _paragraph(problem, indent=0, width=width, markup={"yellow": True})
    lines.append((Span(verdict_line(run), _verdict_markup(run)),))
    return lines


def verdict_line(run: Run) -> str:
    circuits = len({result.circuit for result in run.results})
    total = f"{words.several(len(run.results), 'claim')} about {words.several(circuits, 'circuit')}"
    model = _tested_model(run)
    if run.verdict is Verdict.PASS:
        hold = "holds" if len(run.results) == 1 else "hold"
        moved = any(circuit.matched and circuit.matched.file for circuit in run.circuits)
        where = ", at nodes that are to be reviewed" if moved else ""
        return f"gate: PASS{model} - {total} {hold}{where}"
    if run.green and run.not_asked_for:
        left = "; ".join(f"{name} ({', '.join(k)})" for name, k in run.not_asked_for.items())
        return f"gate: PASS OF A PART{model} - no verdict: {total} ran, and not {left}"
    if run.green and not run.waived:
        return (
            f"gate: BASELINE RECORDED{model} - every other claim holds; review and commit the "
            "baseline, then run the gate again for a verdict"
        )
    if run.green:
        return _with_waivers(run, model)
    if run.refused:
        refused = f"{words.several(len(run.refused), 'specification')} cannot be used"
        return f"gate: NO VERDICT - do not release: {refused}"
    verdict = run.verdict.value.upper()
    return f"gate: {verdict}{model} - do not release: {_why_not(run)}"


def _with_waivers(run: Run, model: str) -> str:
    """Nobody is to take this for a pass: it says how many claims do not, and until when."""
    until = min(result.waived.until for result in run.waived if result.waived)
    held = len(run.results) - len(run.waived)
    hold = f"{words.several(held, 'claim')} {'holds' if held == 1 else 'hold'}"
    count = words.several(len(run.waived), "waiver").upper()
    return (
        f"gate: PASS WITH {count}{model} - {hold}, {_counted('waived', run.waived)}; "
        f"{'it ends' if len(run.waived) == 1 else 'the first ends'} on {until}"
    )


def _why_not(run: Run) -> str:
    reasons = []
    for word in dict.fromkeys(words.state_of(result) for result in run.results):
        concerned = [result for result in run.results if words.state_of(result) == word]
        if word not in {Verdict.PASS, words.WAIVED}:
            reasons.append(_counted(word, concerned))
    if not reasons:
        return "there is a problem with the run"
    return f"of {words.several(len(run.results), 'claim')}, {'; '.join(reasons)}"


def _counted(word: str, concerned: Sequence[Result]) -> str:
    names = "" if word == State.DESELECTED else f" ({_names(concerned)})"
    return f"{len(concerned)} {words.plainly(word, many=len(concerned) > 1)}{names}"


def _table(results: Sequence[Result], *, ascii_only: bool) -> list[Line]:
    if not results:
        return []
    delta = "to baseline" if ascii_only else "Δ baseline"
    head = ("verdict", "circuit", "claim", "observed", "bound", "n", delta)
    rows = [_cells(result, ascii_only=ascii_only) for result in results]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines: list[Line] = [(Span(_aligned(head, widths), {"bold": True}),)]
    for result, row in zip(results, rows, strict=True):
        verdict, rest = row[0], _aligned(("", *row[1:]), widths)
        markup = words.colour_of(Verdict.INCONCLUSIVE if result.waived else result.verdict)
        lines.append((Span(verdict, markup), Span(rest[len(verdict) :])))
    return lines


def _cells(result: Result, *, ascii_only: bool) -> tuple[str, ...]:
    named = (clean(result.circuit), clean(result.evidence.claim))
    return (words.state_of(result), *named, *words.measured(result, ascii_only=ascii_only))


def _grades(run: Run, *, width: int, verbose: bool) -> list[Line]:
    """One row per circuit: how much was shown about it, and why it is not more."""
    grades = [grade(circuit, run) for circuit in run.circuits]
    names = [clean(circuit.name) for circuit in run.circuits]
    rows = [
        ("grade", "circuit", "evidence"),
        *((g.level.value, name, g.sentence) for name, g in zip(names, grades, strict=True)),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines: list[Line] = []
    for place, row in enumerate(rows):
        bold = {} if place else {"bold": True}
        lines.append((Span(f"{_aligned(row[:2], widths)}  {row[2]}", bold),))
        for claim, reason in grades[place - 1].left_out.items() if verbose and place else ():
            text = f"{claim} is not declared: {clean(reason)}"
            lines += _paragraph(text, indent=4, width=width)
    return lines


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    left = 5  # the numbers after these are read from their last digit
    padded = [
        cell.ljust(width) if column < left else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded)


def _paragraph(
    text: str, *, indent: int, width: int, markup: dict[str, bool] | None = None
) -> list[Line]:
    return [(Span(line, markup or {}),) for line in wrapped(text, width, indent=indent)]


def _verdict_markup(run: Run) -> dict[str, bool]:
    verdict = Verdict.INCONCLUSIVE if run.green and run.waived else run.verdict
    return {**words.colour_of(verdict), "bold": True}


def _names(results: Sequence[Result]) -> str:
    by_circuit: dict[str, list[str]] = {}
    for result in results:
        by_circuit.setdefault(clean(result.circuit), []).append(clean(result.evidence.claim))
    names = [f"{circuit} {', '.join(claims)}" for circuit, claims in by_circuit.items()]
    more = f"; {len(names) - _MANY} more circuits" if len(names) > _MANY else ""
    return "; ".join(names[:_MANY]) + more


def _tested_model(run: Run) -> str:
    models = {circuit.model for circuit in run.circuits}
    named = [f" for {clean(model.path)} ({model.digest[:12]})" for model in models]
    return named[0] if len(named) == 1 else ""
