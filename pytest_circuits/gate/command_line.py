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

from pytest_circuits.gate.settings import LISTINGS, key, lists, named_outputs, names_with_value

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


def hidden_listing(config: pytest.Config) -> str | None:
    """What to say where a gate is to list something, and the command line does not ask for it.

    Its exit status would be that of a gate that passes.
    """
    given = {argument.partition("=")[0] for argument in _spread(config.invocation_params.args)}
    for name, options in LISTINGS.items():
        if lists(config, name) and given.isdisjoint(options):
            return (
                f"{options[0]} in {VARIABLE} or addopts makes pytest list, and test nothing; take "
                "it away there, or give it on the command line to see the list"
            )
    return None


def outputs_of_unread(config: pytest.Config) -> dict[str, Path]:
    """Where outputs would go, by name, of a gate whose arguments pytest has not read to the end.

    None where the settings may be a candidate's: from there on any import runs its code. None
    either where pytest has not come to any settings, as with a root folder that is not there.
    """
    try:
        added = [*config.getini("addopts"), *shlex.split(os.environ.get(VARIABLE, ""))]
    except ValueError:
        return {}
    arguments = joined([*added, *_spread(config.invocation_params.args)])
    if "--circuits" not in arguments or _has_foreign_settings(config):
        return {}
    for argument in arguments:
        option, _, value = argument.partition("=")
        if value and option.startswith("--circuits-"):
            setattr(config.option, key(option.removeprefix("--circuits-")), value)
    return named_outputs(config)


def _refuse_foreign_settings(config: pytest.Config) -> None:
    """Raise UsageError when the settings that pytest read are no test's.

    They were in force before any plugin could say so, and may have loaded code.
    """
    if _has_foreign_settings(config):
        raise pytest.UsageError(
            f"pytest has read the settings in {config.inipath}, because the value of a --circuits "
            "option is written apart and looks to it like a path to tests; write "
            "--circuits-model=DIR, with an equals sign"
        )


def _has_foreign_settings(config: pytest.Config) -> bool:
    """Whether the ini file that pytest read lies in another folder than the one it runs in."""
    ini, named = config.inipath, config.getoption("inifilename", default=None)
    return not (named or ini is None or config.invocation_params.dir.is_relative_to(ini.parent))


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
