"""The errors that a user can cause, under one root; each message says what, where and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class CircuitsError(Exception):
    """Root of the errors that are shown to a user as text, never as a traceback."""


_TOLD = 20  # problems; more are not read to the end by anybody


def told(problems: Iterable[object]) -> list[str]:
    """The first problems of a list, and how many more there are."""
    texts = [str(problem) for problem in problems]
    more = len(texts) - _TOLD
    return [*texts[:_TOLD], *[f"... and {more} more problem{'s' * (more > 1)}"] * (more > 0)]


class SpecError(CircuitsError):
    """A specification that cannot be used; the message lists every problem as `path:line:col`.

    Each argument is a `spec.Problem`, or a plain sentence where there is no place to point at.
    """

    @property
    def problems(self) -> tuple[Any, ...]:
        """The problems, in file order."""
        return self.args

    def __str__(self) -> str:
        return "\n".join(told(self.args))


class ModelError(CircuitsError):
    """A model directory, checkpoint, tokenizer or reference that cannot be used."""


class SiteError(ModelError):
    """A model that is not what is said of its sites.

    at: keys below `sites` of a specification, where that is said.
    """

    def __init__(self, problem: str, *at: str) -> None:
        super().__init__(f"sites: {problem}")
        self.at = at


class BaselineError(CircuitsError):
    """A baseline file that is damaged or was recorded for something else."""


class RecordError(CircuitsError):
    """An evidence record that cannot be read, or that says what does not follow from it."""


class UsageError(CircuitsError):
    """A command line or configuration that asks for something that cannot be done."""


class StoppedError(CircuitsError):
    """Work that was asked to stop; its state is saved, and it can be gone on with."""


REFUSED = 2  # exit status of input that cannot be used
MISUSED = 4  # and of a command that asks for what cannot be done, as pytest has it
STOPPED = 75  # and of work that can be gone on with (EX_TEMPFAIL of sysexits.h)


def exit_status(error: CircuitsError) -> int:
    """What a command that an error ends says to its caller."""
    if isinstance(error, StoppedError):
        return STOPPED
    return MISUSED if isinstance(error, UsageError) else REFUSED
