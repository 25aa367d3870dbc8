"""The pytest plugin: without `--circuits` it adds options and nothing else.

This is the border between what is light and what is heavy. Here and in `gate.settings` only the
standard library and pytest are imported; `gate.hooks` and all that it imports are loaded when a
gate is asked for and its settings can be used.
"""

from __future__ import annotations

import pytest

from pytest_circuits.gate.settings import (
    add_options,
    named_outputs,
    read_settings,
    refuse_stray_options,
)

GATE = "circuits-gate"  # the name under which the hooks of the gate are registered


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | pytest.ExitCode | None:
    """Start again where pytest may have taken the value of an option for a path to tests."""
    if not config.getoption("circuits"):
        return None
    from pytest_circuits.gate.command_line import restarted  # noqa: PLC0415  (unused: not loaded)

    return restarted(config)


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("circuits"):
        refuse_stray_options(config)
        return
    try:
        settings = read_settings(config)
    except pytest.UsageError:  # then nothing of an earlier run is left either
        from pytest_circuits.gate.stale_outputs import forget_earlier  # noqa: PLC0415  (as above)

        forget_earlier(config, named_outputs(config))
        raise
    if config.pluginmanager.is_blocked(GATE):
        raise pytest.UsageError(
            f"--circuits and -p no:{GATE} exclude each other: no gate would run"
        )
    from pytest_circuits.gate.hooks import GateHooks  # noqa: PLC0415  (loads torch)

    config.pluginmanager.register(GateHooks(config, settings), GATE)
