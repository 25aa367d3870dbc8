"""The summary of a run: one aligned row per claim, and the gate's verdict in words.

Of more claims than a screen has rows there is a matrix instead, and a row for each that is no pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.errors import told
from pytest_circuits.report import words
from pytest_circuits.report.grade import grade, warning
from pytest_circuits.report.matrix import matrix
from pytest_circuits.report.run import Result, Run, State
from pytest_circuits.report.safe_text import clean, wrapped

_MANY = 5  # circuits that the last line names before it only counts
_SCREEN = 20  # claims: of more there is a matrix, unless every reason is asked for
_LETTERS = 4  # the least that a column of the matrix shows
_NAME = 12  # the same, of the name of a circuit


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a line, with its terminal markup."""

    text: str
    markup: dict[str, bool] = field(default_factory=dict)


Line = tuple[Span, ...]


def summary(run: Run, *, width: int, verbose: bool, ascii_only: bool = False) -> list[Line]:
    shown = [result for result in run.results if result.is_told]
    if len(shown) > _SCREEN and not verbose:
        lines = _matrix(run, width=width, ascii_only=ascii_only)
        for result in shown:
            if result.verdict is not Verdict.PASS:
                lines += [(), *_entry(result, width=width, ascii_only=ascii_only)]
    else:
        lines = _rows(shown, width=width, verbose=verbose, ascii_only=ascii_only)
        if shown:
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


def _rows(results: Sequence[Result], *, width: int, verbose: bool, ascii_only: bool) -> list[Line]:
    """A row for each claim, and below it what is to be known of one that does not pass."""
    lines: list[Line] = []
    for position, row in enumerate(_table(results, ascii_only=ascii_only)):
        lines.append(row)
        if position:
            lines += _below(results[position - 1], width=width, verbose=verbose)
    return lines


def _below(result: Result, *, width: int, verbose: bool) -> list[Line]:
    told = verbose or result.state is not State.RAN
    text = result.evidence.reason if told else words.why(result)
    waived = words.waived(result.waived) if result.waived else ""
    return [line for each in (waived, text) for line in _paragraph(each, indent=4, width=width)]


def _entry(result: Result, *, width: int, ascii_only: bool) -> list[Line]:
    """One claim that does not pass, below the matrix."""
    state, *named = _cells(result, ascii_only=ascii_only)[:3]
    head = (Span(state, _markup(result)), Span(f"  {' '.join(named)}"))
    rate = result.evidence.rate
    seen = words.observed(rate, ascii_only=ascii_only)
    limit = words.bound(rate, ascii_only=ascii_only)
    measured = f"observed {seen} of {words.prompts(rate)}, needed {limit}" if rate else ""
    numbers = _paragraph(measured, indent=4, width=width)
    return [head, *numbers, *_below(result, width=width, verbose=False)]


def _matrix(run: Run, *, width: int, ascii_only: bool) -> list[Line]:
    """One row for each circuit, cut to fit: each cell has a verdict, the last one the grade."""
    found = matrix(run)
    head = "circuit (-v: numbers)"
    names = [clean(row.circuit.name) for row in found.rows]
    grades = ["grade", *(grade(row.circuit, run).level.value for row in found.rows)]
    room = width - max(map(len, grades))
    longest = max(map(len, [head, *names]))
    left = room - longest
    gap = 2 if sum(len(claim) + 2 for claim in found.claims) + 2 <= left else 1
    letters = max(_LETTERS, (left - 1) // len(found.claims) - 1) if gap == 1 else width
    columns = [min(letters, max(_LETTERS, len(claim))) for claim in found.claims]
    longest = max(_NAME, min(longest, room - sum(columns) - gap * (len(columns) + 1)))
    first = _cut(head, longest, ascii_only=ascii_only)
    titles = [
        clean(claim)[:size].ljust(size) for claim, size in zip(found.claims, columns, strict=True)
    ]
    join = " " * gap
    lines: list[Line] = [(Span(join.join((first, *titles, grades[0])), {"bold": True}),)]
    for name, row, level in zip(names, found.rows, grades[1:], strict=True):
        spans = [Span(_cut(name, longest, ascii_only=ascii_only))]
        for cell, size in zip(row.cells, columns, strict=True):
            spans += [Span(join), Span(words.short_state_of(cell).ljust(size), _markup(cell))]
        lines.append((*spans, Span(f"{join}{level}")))
    return lines


def _cut(text: str, width: int, *, ascii_only: bool) -> str:
    mark = "~" if ascii_only else "…"
    return text.ljust(width) if len(text) <= width else text[: width - 1] + mark


def _markup(result: Result | None) -> dict[str, bool]:
    if result is None:
        return {}
    return words.colour_of(Verdict.INCONCLUSIVE if result.waived else result.verdict)


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
        lines.append((Span(verdict, _markup(result)), Span(rest[len(verdict) :])))
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
        head = f"{_aligned(row[:2], widths)}  "
        first, *rest = wrapped(row[2], width - len(head))
        lines.append((Span(f"{head}{first}", bold),))
        lines += [(Span(" " * len(head) + line),) for line in rest]
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
