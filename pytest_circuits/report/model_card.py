"""The results of a run in the model card of a model: a section for people, and a `model-index`.

Everything else in the card is left as it is, and the same run gives the same bytes again.
"""

from __future__ import annotations

import math
from pathlib import Path, PurePath

from pytest_circuits.claims.evidence import Evidence
from pytest_circuits.errors import UsageError
from pytest_circuits.report import words
from pytest_circuits.report.front_matter import SOURCE, line_end, with_results
from pytest_circuits.report.markdown import (
    CLAIMS_HEAD,
    GRADES_HEAD,
    claim_row,
    grade_row,
    waiver_items,
)
from pytest_circuits.report.run import Circuit, Json, Run
from pytest_circuits.report.safe_text import clean, code, prose
from pytest_circuits.report.terminal import verdict_line
from pytest_circuits.report.writing import Target
from pytest_circuits.system.files import read_bounded

BEGIN, END = "<!-- circuits:begin -->", "<!-- circuits:end -->"
_MAX_BYTES = 2**23
_URL = "https://pypi.org/project/pytest-circuits/"


def model_card(before: str, run: Run, *, path: Path) -> str:
    """The card at `path` with the results of a run.

    Raises UsageError where the run is not about one model, and where the card cannot be changed
    without touching what is not ours.
    """
    models = {circuit.model for circuit in run.circuits}
    if len(models) != 1:
        raise UsageError(
            f"{path}: a model card is about one model, and the run about {len(models)}"
        )
    (model,) = models
    results = [_result(circuit, run) for circuit in run.circuits]
    name = clean(PurePath(model.path).name) or "model"
    card = with_results(before, model=name, results=results, path=path)
    return _with_section(card, _section(run), path)


def make(run: Run, target: Target) -> bytes:
    before = b""
    if target.path.exists():
        before = read_bounded(target.path, max_bytes=_MAX_BYTES, error=UsageError)
    try:
        return model_card(before.decode(), run, path=Path(target.shown)).encode()
    except UnicodeDecodeError:
        raise UsageError(f"{target.shown}: not UTF-8 text; save the file as UTF-8") from None


def _section(run: Run) -> str:
    (digest,) = {circuit.model.digest for circuit in run.circuits}
    claims = "".join([CLAIMS_HEAD, *map(claim_row, run.results)])
    waivers = "".join(["\n", *waiver_items(run)]) if run.waived else ""
    grades = "".join([GRADES_HEAD, *(grade_row(circuit, run) for circuit in run.circuits)])
    lines = (
        *("## Circuit checks", "", prose(verdict_line(run)), "", claims + waivers, grades),
        f"Made by {prose(str(run.tool))} for the model {code(digest)}.",
    )
    return "\n".join([BEGIN, *lines, END])


def _with_section(card: str, section: str, path: Path) -> str:
    """The card with the section in place of the one between the markers, or at its end."""
    end = line_end(card)
    section = section.replace("\n", end)
    begins, ends = card.count(BEGIN), card.count(END)
    if (begins, ends) == (0, 0):
        gap = "" if card.endswith(end * 2) else end if card.endswith(end) else end * 2
        return f"{card}{gap}{section}{end}"
    start, stop = card.find(BEGIN), card.find(END)
    if (begins, ends) != (1, 1) or stop < start:
        raise UsageError(
            f"{path}: it needs one {BEGIN} and one {END} after it, or neither; found {begins} and "
            f"{ends}"
        )
    return card[:start] + section + card[stop + len(END) :]


def _result(circuit: Circuit, run: Run) -> Json:
    """One result of the `model-index`: a circuit is the data set, each claim is a metric."""
    found = [r.evidence for r in run.results if r.circuit == circuit.name]
    return {
        "task": {"type": "text-generation", "name": f"Circuit {clean(circuit.name)}"},
        "dataset": {"name": clean(circuit.spec), "type": SOURCE, "revision": circuit.digest},
        "metrics": [_metric(evidence) for evidence in found],
        "source": {"name": SOURCE, "url": _URL},
    }


def _metric(evidence: Evidence) -> Json:
    """The rate of a claim with its verdict; of a claim without a rate, the verdict alone."""
    claim, rate, verdict = evidence.claim, evidence.rate, evidence.verdict.value
    if rate is None or not math.isfinite(rate.estimate):
        return {"type": claim, "name": claim, "value": verdict}
    needed = words.bound(rate)
    return {"type": claim, "name": f"{claim} ({needed}): {verdict}", "value": rate.estimate}
