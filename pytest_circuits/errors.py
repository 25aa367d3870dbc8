"""The errors that a user can cause, under one root; each message says what, where, why and what to do."""

from __future__ import annotations


class CircuitsError(Exception):
    """Root of the errors that are shown to a user as text, never as a traceback."""


class SpecError(CircuitsError):
    """A specification that cannot be used; the message lists every problem as `path:line:col`."""


class ModelError(CircuitsError):
    """A model directory, checkpoint, tokenizer or reference that cannot be used."""


class BaselineError(CircuitsError):
    """A baseline file that is damaged or was recorded for something else."""


class UsageError(CircuitsError):
    """A command line or configuration that asks for something that cannot be done."""
