"""The pytest plugin: without `--circuits` it adds options and nothing else.

Only the standard library and pytest are imported here; the hooks of the gate are in `gate.hooks`
and are registered when they are asked for.
"""

from __future__ import annotations

import pytest

from pytest_circuits.gate.settings import add_options, refuse_stray_options


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, under one heading."""
    add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | pytest.ExitCode | None:
    """Start again where pytest may have taken the value of an option for a path to tests."""
    if not config.getoption("circuits"):
        return None
    from pytest_circuits.gate.command_line import (  # noqa: PLC0415  (as below)
        command_line,
        refuse_foreign_settings,
    )

    given = command_line(config)
    if given.joined == given:
        return None
    refuse_foreign_settings(config)
    return given.joined.run(config.invocation_params.plugins)


def pytest_configure(config: pytest.Config) -> None:
    """Register the gate when it is asked for."""
    if not config.getoption("circuits"):
        refuse_stray_options(config)
        return
    from pytest_circuits.gate.hooks import (  # noqa: PLC0415  (nothing is loaded when unused)
        GateHooks,
    )

    if config.pluginmanager.register(GateHooks.opened(config), "circuits-gate") is None:
        raise pytest.UsageError(
            "--circuits and -p no:circuits-gate exclude each other: no gate would run"
        )
