"""The command line, written so that pytest cannot take a model's folder for a path to tests.

pytest looks for its root folder and its ini file before it knows a plugin's options. Written apart,
the value of `--circuits-model DIR` looks to it like a path to tests: it would take the candidate's
folder for the root of the tests and leave the project's own ini file, and so its gate, unread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_circuits.gate.settings import OUTPUTS

if TYPE_CHECKING:
    from collections.abc import Sequence

_TAKE_A_VALUE = frozenset(
    {
        "--circuits-model",
        "--circuits-baseline",
        *(f"--circuits-{name}" for name in OUTPUTS),
        "--circuits-match",
        "--circuits-device",
        "--circuits-update",
        "--circuits-selfcheck",
    }
)


def joined(arguments: Sequence[str]) -> list[str]:
    """Return the same arguments with every `--circuits-x VALUE` as `--circuits-x=VALUE`."""
    result: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            return [*result, argument, *rest]
        value = next(rest, None) if argument in _TAKE_A_VALUE else None
        result.append(argument if value is None else f"{argument}={value}")
    return result
