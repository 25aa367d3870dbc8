"""A run in Markdown, for the summary of a CI job or a comment on a merge request."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.report import words
from pytest_circuits.report.failure import Subject, account, commands, plain
from pytest_circuits.report.grade import warning
from pytest_circuits.report.markdown_tables import (
    CLAIMS_HEAD,
    GRADES_HEAD,
    SIGNS,
    claim_row,
    grade_row,
    sign_of,
    waiver_items,
)
from pytest_circuits.report.mermaid import mermaid
from pytest_circuits.report.record import tool
from pytest_circuits.report.run import Circuit, Drawing, Result, Run
from pytest_circuits.report.safe_markdown import code, fenced, html_code, prose
from pytest_circuits.report.terminal import verdict_line

COMMENT = 65_536  # characters that a comment on GitHub can have
STEP_SUMMARY = 2**20  # bytes of the summary of one step; more, and GitHub shows nothing of it
# What goes first where there is no room, in words, and by which name it is counted.
_CUT_FIRST = ("graph", "passing claim", "grade", "failure report", "remark", "claim", "waiver")


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the document; of its kinds, those in `_CUT_FIRST` can be left out."""

    text: str
    kind: str = ""


def markdown(run: Run, *, evidence: str | None, most: int = COMMENT) -> str:
    """The document, of at most that many bytes of UTF-8, and so of no more characters.

    Where it would be larger, whole parts are left out, and a last line says which.
    evidence: the file that holds the whole record, where one is written.
    """
    return _fitted([*_head(run), *_claims(run), *_accounts(run), *_grades(run)], evidence, most)


def _head(run: Run) -> Iterator[Part]:
    sign, verdict = SIGNS[run.verdict], run.verdict.value
    if run.green and run.waived and not run.not_asked_for:
        sign, verdict = SIGNS[Verdict.INCONCLUSIVE], words.several(len(run.waived), "waiver")
    yield Part(f"## Circuits: {sign} {verdict}\n\n")
    yield Part(f"**{prose(verdict_line(run))}**\n\n")
    places = [f"{r.spec}:{r.line}:{r.column}: {r.text}" for r in run.refusals]
    if places:
        yield Part(f"{fenced(chr(10).join(places), 'text')}\n", "remark")
    warned = warning([] if run.refused else run.circuits)
    for item in waiver_items(run):
        yield Part(item, "waiver")
    for text in filter(None, [*run.problems, *run.notes, warned]):
        yield Part(f"- {prose(text)}\n", "remark")
    yield Part("\n")


def _claims(run: Run) -> Iterator[Part]:
    shown = [result for result in run.results if result.is_told]
    if shown:
        yield Part(CLAIMS_HEAD)
    for result in shown:
        kind = "passing claim" if result.verdict is Verdict.PASS else "claim"
        yield Part(claim_row(result), kind)
    yield Part("\n")


def _accounts(run: Run) -> Iterator[Part]:
    """What is to be known about each claim that does not pass, folded; its circuit as a graph."""
    failing: dict[str, list[Result]] = {}
    for result in (*run.blocking, *run.waived):
        if result.is_told:
            failing.setdefault(result.circuit, []).append(result)
    for circuit in run.circuits:
        for result in failing.get(circuit.name, []):
            yield Part(_account(result), "failure report")
        if circuit.drawing and circuit.name in failing:
            yield Part(_graph(circuit, circuit.drawing), "graph")


def _account(result: Result) -> str:
    place, claim = result.place, result.evidence.claim
    subject = Subject(result.circuit, place.path, place.line, place.command)
    title = f"{sign_of(result)} {html_code(result.circuit)} {claim}: "
    title += f"{words.state_of(result)} ({html_code(f'{place.path}:{place.line}')})"
    told = fenced(textwrap.dedent(plain(account(result.evidence))), "text")
    said = "\n".join(commands(result.evidence, subject).values())
    return _folded(title, f"{told}\n{fenced(said, 'sh')}")


def _graph(circuit: Circuit, drawing: Drawing) -> str:
    size = f"{words.several(circuit.nodes, 'node')}, {words.several(circuit.edges, 'edge')}"
    title = f"the circuit {html_code(circuit.name)}: {size}"
    return _folded(title, fenced(mermaid(drawing), "mermaid"))


def _folded(title: str, body: str) -> str:
    return f"<details>\n<summary>{title}</summary>\n\n{body}\n</details>\n\n"


def _grades(run: Run) -> Iterator[Part]:
    if run.circuits and not run.refused:
        yield Part(GRADES_HEAD)
        for circuit in run.circuits:
            yield Part(grade_row(circuit, run), "grade")


def _fitted(parts: Sequence[Part], evidence: str | None, most: int) -> str:
    """Leave out parts, the last of the least important kind first, until the rest fits."""
    sizes = [len(part.text.encode()) for part in parts]
    longest = _foot([f"{len(parts)} {kind}s" for kind in _CUT_FIRST], evidence, most)
    excess = sum(sizes) + len(longest.encode()) - most
    gone: set[int] = set()
    for kind in _CUT_FIRST:
        for place in reversed(range(len(parts))):
            if excess > 0 and parts[place].kind == kind:
                gone.add(place)
                excess -= sizes[place]
    kept = "".join(part.text for place, part in enumerate(parts) if place not in gone)
    counted = Counter(parts[place].kind for place in gone)
    lost = [words.several(counted[kind], kind) for kind in _CUT_FIRST if counted[kind]]
    return kept + _foot(lost, evidence, most)


def _foot(lost: list[str], evidence: str | None, most: int) -> str:
    made = f"{tool()['name']} {tool()['version']}"
    where = f"the whole evidence: {code(evidence)}" if evidence else ""
    cut = f"left out, to stay below {most:,} bytes: {', '.join(lost)}" if lost else ""
    return f"\n<sub>{'; '.join(filter(None, [prose(made), cut, where]))}</sub>\n"
