"""The files that a run was asked for."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pytest_circuits.errors import CircuitsError
from pytest_circuits.gate.state import Gate
from pytest_circuits.report.outputs import RECORD
from pytest_circuits.report.run import Run
from pytest_circuits.report.writing import Record, Target, in_order, output, write_output


def write_outputs(gate: Gate, run: Run, *, complete: bool) -> Run:
    """Write what was asked for; a file that cannot be written is a problem of the run.

    What was written before one that cannot be is written again, so that every file tells of it.

    complete: false where claims did not run because of bad input or an interrupt. Then there is no
    record to keep, and only what says so is written.
    """
    made = {name: output(name) for name in in_order(list(gate.settings.outputs))}
    names = [name for name in made if complete or made[name].always]
    run = _about(gate, run)
    told = _with_files(gate, run, names)
    if told.problems != run.problems:
        again = [n for n in names if n in gate.written and not made[n].appends]
        told = _with_files(gate, told, again)
    notes = [
        f"{'evidence' if name == RECORD else name}: {_shown(gate, name)}"
        for name in names
        if name in gate.written
    ]
    return replace(told, notes=(*told.notes, *notes))


def _about(gate: Gate, run: Run) -> Run:
    """The run with what only the place and the time where it ran can tell."""
    return replace(
        run,
        root=folder_in_repository(gate.config.rootpath),
        url=address(os.environ),
        started=datetime.fromtimestamp(gate.started, UTC).isoformat(timespec="seconds"),
        seconds=round(time.time() - gate.started, 3),
    )


def folder_in_repository(root: Path) -> str:
    """A folder from the top of its repository; where nothing says which, it is its top."""
    tops = (folder for folder in (root, *root.parents) if (folder / ".git").exists())
    return root.relative_to(next(tops, root)).as_posix()


def address(environment: Mapping[str, str]) -> str:
    """Where a run of GitHub Actions or GitLab CI can be looked at; of any other, nowhere."""
    names = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
    server, repository, number = (environment.get(name) for name in names)
    if server and repository and number:
        return f"{server}/{repository}/actions/runs/{number}"
    return environment.get("CI_JOB_URL", "")


def _with_files(gate: Gate, run: Run, names: list[str]) -> Run:
    """Write files; returns the run with a problem for each that cannot be written."""
    for name in names:
        problem = _problem_of_writing(gate, run, name)
        if problem is None:
            continue
        run = replace(run, problems=(*run.problems, problem))
        if gate.written.pop(name, None) and output(name).mark is not None:
            with suppress(OSError):  # it says what was right before this problem
                gate.settings.outputs[name].unlink()
    return run


def _problem_of_writing(gate: Gate, run: Run, name: str) -> str | None:
    digest, shown = gate.written.get(RECORD), _shown(gate, name)
    record = Record(_shown(gate, RECORD), digest) if digest else None
    target = Target(gate.settings.outputs[name], shown, record)
    try:
        gate.written[name] = write_output(output(name), run, target)
    except OSError as error:
        return f"{shown}: cannot be written: {error.strerror}"
    except CircuitsError as error:
        return str(error)
    return None


def _shown(gate: Gate, name: str) -> str:
    return gate.names.shown(gate.settings.outputs[name])
