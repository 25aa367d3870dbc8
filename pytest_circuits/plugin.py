"""The pytest plugin: without `--circuits` it adds options and nothing else.

This is the border between what is light and what is heavy. Here and in `gate.settings` only the
standard library and pytest are imported; `gate.hooks` and all that it imports are loaded when a
gate is asked for and its settings can be used.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from pytest_circuits.gate.settings import (
    add_options,
    named_outputs,
    read_settings,
    refuse_stray_options,
)

GATE = "circuits-gate"  # the name under which the hooks of the gate are registered
_READ = pytest.StashKey[bool]()  # whether the command line was read, and is one of a run


class HookSpecs:
    """The hooks that a conftest.py may implement."""

    def pytest_circuits_model(self, path: Any, device: Any) -> Any:  # noqa: ANN401  (see below)
        """Hand over the model that a directory stands for, instead of having it loaded.

        path: the directory (`pathlib.Path`) that a specification or `--circuits-model` names.
        device: where the gate computes (`torch.device`).
        Return what `pytest_circuits.hand_over(module, path=path, ...)` gives, or None to have what
        lies there loaded.
        """


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(HookSpecs)


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    add_options(parser)
    config: Any = pluginmanager.get_plugin("pytestconfig")
    config.add_cleanup(partial(_forget_unless_read, config))


def _forget_unless_read(config: pytest.Config) -> None:
    """No output of an earlier run outlives one whose arguments, or conftest, pytest refuses."""
    if config.stash.get(_READ, default=False):
        return
    from pytest_circuits.gate.command_line import outputs_of_unread  # noqa: PLC0415  (as below)

    if outputs := outputs_of_unread(config):
        from pytest_circuits.gate.stale_outputs import forget  # noqa: PLC0415  (as below)

        forget(outputs)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | pytest.ExitCode | None:
    """Start again where pytest may have taken the value of an option for a path to tests."""
    if not (config.getoption("circuits") or "--circuits" in config.invocation_params.args):
        config.stash[_READ] = True
        return None  # the arguments themselves, because --help ends the reading of them
    from pytest_circuits.gate.command_line import (  # noqa: PLC0415  (unused: not loaded)
        hidden_listing,
        restarted,
    )

    if problem := hidden_listing(config):
        raise pytest.UsageError(problem)
    config.stash[_READ] = True
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
