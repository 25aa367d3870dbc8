"""A run in Markdown, for the summary of a CI job or a comment on a merge request."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.errors import UsageError, told
from pytest_circuits.report import words
from pytest_circuits.report.failure import account, commands, plain, worst_prompts
from pytest_circuits.report.grade import grade, warning
from pytest_circuits.report.run import Circuit, Result, Run
from pytest_circuits.report.safe_text import code, fenced, html_code, prose
from pytest_circuits.report.terminal import verdict_line
from pytest_circuits.report.writing import Target, is_step_summary
from pytest_circuits.show.drawing import Drawing

COMMENT = 65_536  # characters that a comment on GitHub can have
STEP_SUMMARY = 2**20  # bytes of the summary of one step; more, and GitHub shows nothing of it
MOST_DRAWN = 60  # nodes, or edges, of a graph
SIGNS = {Verdict.PASS: "✅", Verdict.FAIL: "❌", Verdict.INCONCLUSIVE: "⚠️"}
CLAIMS_HEAD = (
    "| | circuit | claim | observed | threshold | prompts | Δ baseline | why |\n"
    "|---|---|---|---|---|---:|---:|---|\n"
)
GRADES_HEAD = "| grade | circuit | evidence |\n|---|---|---|\n"
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
    parts = [*_head(run), *_claims(run), *_accounts(run), *_grades(run)]
    made = f"<sub>{prose(str(run.tool))}"
    where = f"; the whole evidence: {code(evidence)}" if evidence else ""

    def foot(lost: Sequence[str]) -> str:
        cut = f"; left out, to stay below {most:,} bytes: {', '.join(lost)}" if lost else ""
        return f"\n{made}{cut}{where}</sub>\n"

    return _fitted(parts, foot, most)


def make(run: Run, target: Target) -> bytes:
    """The output; one that is appended to the summary of a step fits into what is left there."""
    most = COMMENT
    if is_step_summary(target.path):
        most = STEP_SUMMARY - (target.path.stat().st_size if target.path.exists() else 0)
    evidence = target.record.shown if target.record else None
    content = markdown(run, evidence=evidence, most=most).encode()
    if len(content) > most:
        raise UsageError(f"{target.shown}: the summary of this step is full")
    return content


def _head(run: Run) -> Iterator[Part]:
    sign, verdict = SIGNS[run.verdict], run.verdict.value
    if run.green and run.waived and not run.not_asked_for:
        sign, verdict = SIGNS[Verdict.INCONCLUSIVE], words.several(len(run.waived), "waiver")
    yield Part(f"## Circuits: {sign} {verdict}\n\n")
    yield Part(f"**{prose(verdict_line(run))}**\n\n")
    places = [f"{r.spec}:{r.line}:{r.column}: {r.text}" for r in run.refusals]
    if places:
        yield Part(f"{fenced(chr(10).join(told(places)), 'text')}\n", "remark")
    for item in waiver_items(run):
        yield Part(item, "waiver")
    for text in filter(None, [*told(run.problems), *run.notes, warning(run)]):
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
            yield Part(_account(run, result), "failure report")
        drawing = circuit.drawing
        if drawing and circuit.name in failing and _is_small(drawing):
            yield Part(_graph(circuit, drawing), "graph")


def _is_small(drawing: Drawing) -> bool:
    """Whether GitHub and GitLab would draw it so that it can be read."""
    return len(drawing.nodes) <= MOST_DRAWN and len(drawing.edges) <= MOST_DRAWN


def _account(run: Run, result: Result) -> str:
    place, claim = result.place, result.evidence.claim
    title = f"{sign_of(result)} {html_code(result.circuit)} {claim}: "
    title += f"{words.state_of(result)} ({html_code(f'{place.path}:{place.line}')})"
    lines = [*account(result.evidence, run.meaning_of(claim)), *worst_prompts(result.evidence)]
    told = fenced(textwrap.dedent(plain(lines)), "text")
    said = "\n".join(commands(result.evidence, place).values())
    return _folded(title, f"{told}\n{fenced(said, 'sh')}")


def _graph(circuit: Circuit, drawing: Drawing) -> str:
    size = f"{words.several(circuit.nodes, 'node')}, {words.several(circuit.edges, 'edge')}"
    title = f"the circuit {html_code(circuit.name)}: {size}"
    return _folded(title, fenced(mermaid(drawing), "mermaid"))


def mermaid(drawing: Drawing) -> str:
    """The source of a graph, which GitHub and GitLab draw where Markdown is shown.

    Solid arrows are weights, dotted ones channels of the residual stream that both ends share.
    """
    names = {node: f"n{place}" for place, node in enumerate(drawing.nodes)}
    lines = ["flowchart LR"]
    lines += [f'  {name}["{_label(node)}"]' for node, name in names.items()]
    lines += [f"  {names[start]} --> {names[end]}" for start, end in drawing.edges]
    lines += [f"  {names[start]} -.-> {names[end]}" for start, end in drawing.stream]
    return "\n".join(lines)


def _label(node: str) -> str:
    return re.sub(r"[^\w.\[\] -]", lambda found: f"#{ord(found[0])};", node)


def _folded(title: str, body: str) -> str:
    return f"<details>\n<summary>{title}</summary>\n\n{body}\n</details>\n\n"


def sign_of(result: Result) -> str:
    """The sign of a claim: a waived one neither passes nor blocks."""
    return SIGNS[Verdict.INCONCLUSIVE if result.waived else result.verdict]


def waiver_items(run: Run) -> Iterator[str]:
    """Items of a list: until when each waived claim may stand, why, and how it does not pass."""
    for result in run.waived:
        about = f"{code(result.circuit)} {prose(result.evidence.claim)}"
        until = prose(words.waived(result.waived)) if result.waived else ""
        yield f"- {about}: {until}; measured: {prose(result.evidence.reason)}\n"


def claim_row(result: Result) -> str:
    """One claim: its verdict, the rate with its bound, the threshold, why it is no pass."""
    observed, *rest = words.measured(result)
    return _row(
        f"{sign_of(result)} {words.state_of(result)}",
        code(result.circuit),
        prose(result.evidence.claim),
        observed.replace(" ", "\xa0"),
        *rest,
        prose(words.why(result)),
    )


def grade_row(circuit: Circuit, run: Run) -> str:
    """How much was shown about one circuit, and why it is not more."""
    found = grade(circuit, run)
    return _row(found.level.value, code(circuit.name), prose(found.sentence))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"


def _grades(run: Run) -> Iterator[Part]:
    if run.circuits and not run.refused:
        yield Part(GRADES_HEAD)
        for circuit in run.circuits:
            yield Part(grade_row(circuit, run), "grade")


def _fitted(parts: Sequence[Part], foot: Callable[[Sequence[str]], str], most: int) -> str:
    """Leave out parts, the last of the least important kind first, until the rest fits."""
    sizes = [len(part.text.encode()) for part in parts]
    longest = foot([f"{len(parts)} {kind}s" for kind in _CUT_FIRST])
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
    return kept + foot(lost)
