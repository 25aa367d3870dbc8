"""What earlier runs left where this one writes: it must not be taken for the result of this one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from pytest_circuits.errors import UsageError
from pytest_circuits.gate.settings import only_lists
from pytest_circuits.report.writing import in_the_way, is_of_a_run, is_step_summary, output


def forget_earlier(config: pytest.Config, outputs: Mapping[str, Path]) -> None:
    """Remove what an earlier run wrote, so that nothing of it outlives one that is refused.

    A file that no run made stays until there is something to write: the name may be a mistake. So
    does a model card: it says what was measured last, and on which model, and is its owner's.
    Raises UsageError where a file cannot be removed.
    """
    if not (hasattr(config, "workerinput") or only_lists(config)):
        forget(outputs)  # a worker of xdist writes nothing, and neither does a listing


def forget(outputs: Mapping[str, Path]) -> None:
    """Remove what an earlier run wrote, whatever this one is."""
    problems = []
    for name, path in outputs.items():
        try:
            made = output(name)
            if not is_step_summary(path) and is_of_a_run(made, path):
                path.unlink()
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None
        except OSError as error:
            problems.append(
                f"--circuits-{name}: {path.name} may be of an earlier run and cannot be removed: "
                f"{error.strerror}"
            )
    if problems:
        raise pytest.UsageError("\n".join(problems))


def refuse_to_replace(outputs: Mapping[str, Path]) -> None:
    """Raise UsageError where an output is to take the place of something that is none."""
    for name, path in outputs.items():
        if problem := in_the_way(name, path, shown=path.name):
            raise pytest.UsageError(f"--circuits-{name}: {problem}")
