"""The claims and the grades of a run as tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.report import words
from pytest_circuits.report.grade import grade
from pytest_circuits.report.run import DELTA, Circuit, Result, Run
from pytest_circuits.report.safe_markdown import code, prose

SIGNS = {Verdict.PASS: "✅", Verdict.FAIL: "❌", Verdict.INCONCLUSIVE: "⚠️"}
CLAIMS_HEAD = (
    "| | circuit | claim | observed | threshold | prompts | Δ baseline |\n"
    "|---|---|---|---|---|---:|---:|\n"
)
GRADES_HEAD = "| grade | circuit | evidence |\n|---|---|---|\n"


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
    """One claim: its verdict, the rate with its bound, the threshold."""
    evidence = result.evidence
    rate, at_most = evidence.rate, words.words_of(evidence.claim).at_most
    return _row(
        f"{sign_of(result)} {words.state_of(result)}",
        code(result.circuit),
        prose(evidence.claim),
        words.observed(rate, at_most=at_most).replace(" ", "\xa0"),
        words.bound(rate, at_most=at_most),
        words.count(rate),
        words.points(evidence.measures.get(DELTA)),
    )


def grade_row(circuit: Circuit, run: Run) -> str:
    """How much was shown about one circuit, and why it is not more."""
    found = grade(circuit, run.results)
    return _row(found.level.value, code(circuit.name), prose(found.sentence))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"


def whole(head: str, rows: Iterable[str]) -> str:
    """A table with all of its rows."""
    return head + "".join(rows)
