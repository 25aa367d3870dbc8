"""One run in one process: what is refused before anything runs, and how it ends."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from pytest_circuits.discover import Found, find_specs, right_name
from pytest_circuits.errors import REFUSED, ModelError, SiteError, UsageError
from pytest_circuits.gate.bookkeeping import hand_to_controller, started_elsewhere
from pytest_circuits.gate.loading import asked_by, open_benches
from pytest_circuits.gate.outputs import write_outputs
from pytest_circuits.gate.provenance import glossary
from pytest_circuits.gate.recording import record_baselines
from pytest_circuits.gate.settings import Settings
from pytest_circuits.gate.stale_outputs import forget_earlier, refuse_to_replace
from pytest_circuits.gate.state import Gate
from pytest_circuits.gate.verdict import decide, exit_status
from pytest_circuits.report.annotations import workflow_commands
from pytest_circuits.report.run import Run
from pytest_circuits.report.safe_text import clean_block
from pytest_circuits.report.terminal import summary
from pytest_circuits.spec.problems import quoted, suggest, visible
from pytest_circuits.spec.types import Claims


class Error(pytest.exit.Exception):  # type: ignore[name-defined,misc]
    """Ends a run before it begins; pytest tells `msg` after this name, and the text at the end."""

    __module__ = "builtins"

    def __init__(self, problem: str) -> None:
        super().__init__(problem, returncode=REFUSED)

    def __str__(self) -> str:
        return "nothing was tested, for the reason given above"


def now() -> float:
    return time.time()


def open_gate(config: pytest.Config, settings: Settings) -> Gate:
    """Return the gate of a run; UsageError where a claim that it needs is none, or unusable."""
    if problem := _problem_of_claims(settings.require):
        forget_earlier(config, settings.outputs)
        raise pytest.UsageError(problem)
    return Gate(config, settings, started=started_elsewhere(config) or now())


def _problem_of_claims(required: Sequence[str]) -> str | None:
    try:
        glossary()  # the cards of other distributions too, whoever makes their claims
    except UsageError as error:
        return str(error)
    for name in required:
        if name not in Claims.model_fields:
            hint = suggest(name, Claims.model_fields) or f"known: {', '.join(Claims.model_fields)}"
            return f"circuits_require: there is no claim {quoted(name)}; {hint}"
    return None


def start(gate: Gate) -> None:
    """Refuse what cannot be a gate, before anything runs: UsageError, or exit status 2."""
    config = gate.config
    forget_earlier(config, gate.settings.outputs)
    if not (gate.is_worker or gate.only_lists):
        refuse_to_replace(gate.settings.outputs)
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = [str(path) for path in gate.settings.paths]
        config.args_source = pytest.Config.ArgsSource.ARGS
    if not gate.is_worker:
        gate.found = _find(config)
    gate.benches = open_benches(config, gate.settings, gate.names)
    for place in () if gate.is_worker else (gate.settings.model, gate.settings.baseline):
        for asked in asked_by(gate.found.specs, place.path) if place else ():
            try:
                gate.benches.model(*asked)
            except SiteError:
                continue  # it is shown when a specification that names them is collected
            except ModelError as error:
                _give_up(gate, str(error))


def finish(gate: Gate, session: pytest.Session) -> None:
    """Decide the verdict, write what was asked for and set the exit status."""
    if gate.is_worker:
        hand_to_controller(gate)
        return
    if gate.only_lists or session.exitstatus == pytest.ExitCode.INTERNAL_ERROR:
        return
    gate.run = decide(gate)
    complete = not gate.refused and session.exitstatus != pytest.ExitCode.INTERRUPTED
    if complete:
        gate.run = record_baselines(gate, gate.run)
    gate.run = write_outputs(gate, gate.run, complete=complete)
    session.exitstatus = exit_status(gate, gate.run, session.exitstatus)


def summarize(gate: Gate, reporter: pytest.TerminalReporter) -> None:
    if gate.run is None:
        return
    encoding = getattr(sys.__stdout__, "encoding", None) or "ascii"
    ascii_only = not encoding.casefold().startswith("utf")
    verbose = gate.config.get_verbosity() > 0
    width = shutil.get_terminal_size().columns
    reporter.write_sep("=", "circuits")
    for line in summary(gate.run, width=width, verbose=verbose, ascii_only=ascii_only):
        for span in line:
            reporter.write(span.text, **span.markup)
        reporter.write("\n")
    _annotate(gate, reporter)


def _give_up(gate: Gate, problem: str) -> NoReturn:
    """End a run whose models cannot be used, with the reports that were asked for."""
    if not gate.only_lists:
        gate.run = write_outputs(gate, Run((), (), problems=(problem,)), complete=False)
        _annotate(gate, gate.config.pluginmanager.get_plugin("terminalreporter"))
    raise Error(clean_block(problem))


def _annotate(gate: Gate, reporter: pytest.TerminalReporter | None) -> None:
    """Mark what does not pass in the files of a pull request, where GitHub reads the output."""
    asked = gate.settings.annotations and os.environ.get("GITHUB_ACTIONS") == "true"
    if gate.run is None or reporter is None or not asked:
        return
    for command in workflow_commands(gate.run):
        reporter.write_line(command)


def _find(config: pytest.Config) -> Found:
    """Look on the disk for what was asked for; UsageError when that is nothing, or misnamed."""
    folder = config.invocation_params.dir
    named = [argument.partition("::")[0] for argument in config.args]
    places = [Path(os.path.abspath(folder / name)) for name in named]  # noqa: PTH100  (keeps links)
    shown = ", ".join(_shown(place, folder) for place in places)
    missing = [place for place in places if not place.exists()]
    found = find_specs(places)
    if found.misnamed:
        path = found.misnamed[0]
        raise pytest.UsageError(
            f"{_shown(path, folder)}: specifications end in .circuit.yaml, so this file would not "
            f"be tested; rename it to {right_name(path)}"
        )
    if not found.specs and not (missing and config.option.pyargs):
        raise pytest.UsageError(
            f"no specification (*.circuit.yaml) in {shown}: a gate that tests nothing is not "
            "green; name a folder that holds some, or set circuits_paths in the ini file"
        )
    for path in found.specs:
        if not _is_text(_shown(path, config.rootpath)):
            raise pytest.UsageError(
                f"{visible(_shown(path, folder))}: its name is not UTF-8, and pytest cannot name "
                "what is in it; rename the file or folder"
            )
    return found


def _is_text(name: str) -> bool:
    """Whether pytest, its cache and its workers can write a name: all of them do so as UTF-8."""
    return name.encode(errors="replace").decode() == name


def _shown(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
