"""The files that a run was asked for; each is a view of the one record."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from pytest_circuits.errors import CircuitsError, UsageError
from pytest_circuits.gate.stale_outputs import is_step_summary
from pytest_circuits.gate.state import Gate
from pytest_circuits.report.markdown import COMMENT, STEP_SUMMARY, markdown
from pytest_circuits.report.metrics import metrics
from pytest_circuits.report.model_card import model_card
from pytest_circuits.report.predicate import predicate
from pytest_circuits.report.record import dump, run_to_json
from pytest_circuits.report.run import Json, Run
from pytest_circuits.report.sarif import sarif
from pytest_circuits.system.files import read_bounded, write_atomic

_MAX_CARD_BYTES = 2**23


def write_outputs(gate: Gate, run: Run, *, complete: bool) -> Run:
    """Write what was asked for; a file that cannot be written is a problem of the run.

    What was written before one that cannot be is written again, so that every file tells of it.

    complete: false where claims did not run because of bad input or an interrupt. Then there is no
    record to keep, and only what says so is written.
    """
    names = [n for n in _MAKERS if n in gate.settings.outputs and (complete or n in _ALWAYS)]
    told = _with_files(gate, run, names)
    if told.problems != run.problems:
        told = _with_files(gate, told, [n for n in names if n in gate.written and n != _LAST])
    shown = [(n, gate.names.shown(gate.settings.outputs[n])) for n in names if n in gate.written]
    notes = [f"{'evidence' if name == 'report' else name}: {path}" for name, path in shown]
    return replace(told, notes=(*told.notes, *notes))


def _with_files(gate: Gate, run: Run, names: list[str]) -> Run:
    """Write files; returns the run with a problem for each that cannot be written."""
    for name in names:
        problem = _problem_of_writing(gate, run, name)
        if problem is None:
            continue
        run = replace(run, problems=(*run.problems, problem))
        if gate.written.pop(name, None) and name != "model-card":
            with suppress(OSError):  # it says what was right before this problem
                gate.settings.outputs[name].unlink()
    return run


def _problem_of_writing(gate: Gate, run: Run, name: str) -> str | None:
    path = gate.settings.outputs[name]
    try:
        content = _MAKERS[name](gate, run, path)
        if name == "markdown" and is_step_summary(path):
            _append(path, content)
        else:
            write_atomic(path, content)
    except OSError as error:
        return f"{gate.names.shown(path)}: cannot be written: {error.strerror}"
    except CircuitsError as error:
        return str(error)
    gate.written[name] = sha256(content).hexdigest()
    return None


def _markdown(gate: Gate, run: Run, path: Path) -> bytes:
    evidence = None
    if "report" in gate.written:
        evidence = gate.names.shown(gate.settings.outputs["report"])
    most = COMMENT
    if is_step_summary(path):
        most = STEP_SUMMARY - (path.stat().st_size if path.exists() else 0)
    content = markdown(run, evidence=evidence, most=most).encode()
    if len(content) > most:
        raise UsageError(f"{gate.names.shown(path)}: the summary of this step is full")
    return content


def _metrics(_: Gate, run: Run, __: Path) -> bytes:
    return _json(metrics(run))


def _model_card(gate: Gate, run: Run, path: Path) -> bytes:
    shown = Path(gate.names.shown(path))
    before = b""
    if path.exists():
        before = read_bounded(path, max_bytes=_MAX_CARD_BYTES, error=UsageError)
    try:
        return model_card(before.decode(), run, path=shown).encode()
    except UnicodeDecodeError:
        raise UsageError(f"{shown}: not UTF-8 text; save the file as UTF-8") from None


def _sarif(gate: Gate, run: Run, _: Path) -> bytes:
    return _json(sarif(run, root=gate.config.rootpath))


def _report(gate: Gate, run: Run, _: Path) -> bytes:
    about = {
        "started": datetime.fromtimestamp(gate.started, UTC).isoformat(timespec="seconds"),
        "seconds": round(time.time() - gate.started, 3),
    }
    return dump(run_to_json(run, about=about)).encode()


def _predicate(gate: Gate, run: Run, _: Path) -> bytes:
    digest = gate.written.get("report")
    evidence = None if digest is None else (gate.settings.outputs["report"].name, digest)
    return _json(predicate(run, evidence=evidence, environment=os.environ))


# In the order of writing: some name the evidence; the last may be appended, once, and knows of all.
_MAKERS: dict[str, Callable[[Gate, Run, Path], bytes]] = {
    "report": _report,
    "predicate": _predicate,
    "metrics": _metrics,
    "sarif": _sarif,
    "model-card": _model_card,
    "markdown": _markdown,
}
_LAST = "markdown"
_ALWAYS = frozenset({"markdown", "sarif", "predicate"})


def _json(value: Json) -> bytes:
    text = json.dumps(value, sort_keys=True, indent=2, allow_nan=False, ensure_ascii=True)
    return f"{text}\n".encode()


def _append(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(content)
