"""What earlier runs left where this one writes: it must not be taken for the result of this one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from mmap import ACCESS_READ, mmap
from pathlib import Path

import pytest

# What only a file that a run made holds. A model card is not forgotten: it says what was measured
# last, names the digest of the model that it was measured on, and belongs to its owner.
_MARKS = {
    "report": b'"seconds_by_claim"',
    "markdown": b"<sub>pytest-circuits ",
    "metrics": b'"gate.passed"',
    "sarif": b'"circuits/spec"',
    "predicate": b'"passedTests"',
}


def forget_earlier(config: pytest.Config, outputs: Mapping[str, Path]) -> None:
    """Remove what an earlier run wrote, so that nothing of it outlives one that is refused.

    A file that no run made stays until there is something to write: the name may be a mistake.
    Raises UsageError where a file cannot be removed.
    """
    if hasattr(config, "workerinput") or config.getoption("collectonly"):
        return  # a worker of xdist writes nothing, and neither does a listing
    problems = []
    for name, path in outputs.items():
        if name not in _MARKS or is_step_summary(path):
            continue
        try:
            if _holds(path, _MARKS[name]):
                path.unlink()
        except OSError as error:
            problems.append(
                f"--circuits-{name}: {path.name} may be of an earlier run and cannot be removed: "
                f"{error.strerror}"
            )
    if problems:
        raise pytest.UsageError("\n".join(problems))


def refuse_to_replace(outputs: Mapping[str, Path]) -> None:
    """Raise UsageError where an output is to take the place of something that is none.

    The name may be a mistake, and the file a specification or the weights of a model. To be called
    when what earlier runs left is gone.
    """
    for name, path in outputs.items():
        if name in _MARKS and path.is_file() and path.stat().st_size and not is_step_summary(path):
            raise pytest.UsageError(
                f"--circuits-{name}: {path.name} is there already, and is no {name} that a run of "
                "the gate has written; name another file, or remove it"
            )


def is_step_summary(path: Path) -> bool:
    """Say whether a file is the summary of a step of GitHub Actions, which holds others' text."""
    named = os.environ.get("GITHUB_STEP_SUMMARY")
    return bool(named) and os.path.realpath(path) == os.path.realpath(str(named))


def _holds(path: Path, mark: bytes) -> bool:
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        return content.find(mark) >= 0
