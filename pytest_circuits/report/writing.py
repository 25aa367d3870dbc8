"""Writing one output of a run: what it is made for, and what may be there before it."""

from __future__ import annotations

import os
import pkgutil
from dataclasses import dataclass
from hashlib import sha256
from mmap import ACCESS_READ, mmap
from pathlib import Path

from pytest_circuits.errors import CircuitsError, UsageError
from pytest_circuits.report.outputs import OUTPUTS, Output, names, offered
from pytest_circuits.report.run import Run
from pytest_circuits.system.files import write_atomic


@dataclass(frozen=True, slots=True)
class Record:
    """The evidence record of a run, as other outputs name it."""

    shown: str  # its path, as the reader can open it
    sha256: str


@dataclass(frozen=True, slots=True)
class Target:
    path: Path
    shown: str  # as the reader can open it
    record: Record | None = None  # None: the run has none


def output(name: str) -> Output:
    """The row of an output; UsageError where that of another distribution cannot be used."""
    if name in OUTPUTS:
        return OUTPUTS[name]
    entry = offered()[name]
    try:
        found = entry.load()
    except Exception as error:
        raise UsageError(f"the output {name} ({entry.value}) cannot be loaded: {error}") from error
    if not isinstance(found, Output):
        raise UsageError(f"the output {name}: {entry.value} is not a pytest_circuits Output")
    return found


def in_order(named: list[str]) -> list[str]:
    """Names of outputs in the order of writing."""
    every = [name for name, _ in names()]
    return sorted(named, key=lambda name: (output(name).appends, every.index(name)))


def write_output(made: Output, run: Run, target: Target) -> str:
    """Make and write an output; returns the sha256 of what was made.

    Raises OSError where it cannot be written and CircuitsError where it cannot be made.
    """
    content = _content(made, run, target)
    if made.appends and is_step_summary(target.path):
        target.path.parent.mkdir(parents=True, exist_ok=True)
        with target.path.open("ab") as file:
            file.write(content)
    else:
        write_atomic(target.path, content)
    return sha256(content).hexdigest()


def _content(made: Output, run: Run, target: Target) -> bytes:
    try:
        content: bytes = pkgutil.resolve_name(made.maker)(run, target)
    except (OSError, CircuitsError):
        raise
    except Exception as error:
        if made in OUTPUTS.values():
            raise
        # What others wrote must not end the run before the rest of its files tells of it.
        what = f"{type(error).__name__}: {error}"
        raise UsageError(f"{target.shown}: cannot be made: {made.maker}: {what}") from error
    return content


def is_step_summary(path: Path) -> bool:
    """Whether a file is the summary of a step of GitHub Actions, which holds others' text."""
    named = os.environ.get("GITHUB_STEP_SUMMARY")
    return bool(named) and os.path.realpath(path) == os.path.realpath(str(named))


def is_of_a_run(made: Output, path: Path) -> bool:
    """Whether a file is an output that an earlier run has written, and may be replaced."""
    if made.mark is None or not path.is_file() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        return content.find(made.mark) >= 0


def in_the_way(name: str, path: Path, *, shown: str) -> str:
    """What to say where an output is to take the place of a file that no run has made, or nothing.

    The name may be a mistake, and the file a specification or the weights of a model.
    """
    made = output(name)
    if made.mark is None or is_step_summary(path) or not path.is_file():
        return ""
    if path.stat().st_size == 0 or is_of_a_run(made, path):
        return ""
    return (
        f"{shown} is there already, and is no {name} that a run of the gate has written; name "
        "another file, or remove it"
    )
