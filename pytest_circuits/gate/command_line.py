"""The command line, written so that pytest cannot take a model's folder for a path to tests.

pytest looks for its root folder and its ini file before it knows a plugin's options. Written apart,
the value of `--circuits-model DIR` looks to it like a path to tests: it would take the candidate's
folder for the root of the tests, read the settings there, and leave the project's own ini file, and
so its gate, unread. Arguments come from the command line, from files (`@FILE`) and from the
variable PYTEST_ADDOPTS.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from pytest_circuits.gate.settings import names_with_value

VARIABLE = "PYTEST_ADDOPTS"


def restarted(config: pytest.Config) -> int | pytest.ExitCode | None:
    """Run pytest with the command line put right; None where it is right as it is."""
    given, plugins = config.invocation_params.args, config.invocation_params.plugins
    arguments, added = list(_spread(given)), shlex.split(os.environ.get(VARIABLE, ""))
    right, right_added = joined(arguments), joined(added)
    if (right, right_added) == (arguments, added):
        return None
    _refuse_foreign_settings(config)
    with pytest.MonkeyPatch.context() as patch:
        if right_added != added:
            patch.setenv(VARIABLE, shlex.join(right_added))
        return pytest.main(list(given) if right == arguments else right, plugins=plugins)


def _refuse_foreign_settings(config: pytest.Config) -> None:
    """Raise UsageError when the ini file that pytest read lies in a folder that is no test's.

    Its settings were in force before any plugin could say so, and may have loaded code.
    """
    ini = config.inipath
    if config.getoption("inifilename") or ini is None:
        return
    if not config.invocation_params.dir.is_relative_to(ini.parent):
        raise pytest.UsageError(
            f"pytest has read the settings in {ini}, because the value of a --circuits option is "
            "written apart and looks to it like a path to tests; write --circuits-model=DIR, with "
            "an equals sign"
        )


def _spread(arguments: Iterable[str]) -> Iterator[str]:
    """Arguments, with those that stand in files (`@FILE`, one a line) in their place."""
    for argument in arguments:
        if argument.startswith("@"):
            yield from _spread(Path(argument[1:]).read_text(encoding="utf-8").splitlines())
        else:
            yield argument


def joined(arguments: Sequence[str]) -> list[str]:
    """Return the same arguments with every `--circuits-x VALUE` as `--circuits-x=VALUE`."""
    take_a_value = {f"--circuits-{name}" for name in names_with_value()}
    result: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            return [*result, argument, *rest]
        value = next(rest, None) if argument in take_a_value else None
        result.append(argument if value is None else f"{argument}={value}")
    return result
