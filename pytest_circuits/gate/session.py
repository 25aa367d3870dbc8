"""One run of the gate in one process: what was asked for, what was reported, and the exit status.

A claim that was asked for and did not run is never forgotten: what is asked for is known from the
disk and from the collection, before anything can be deselected, and compared with the reports.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import pytest

from pytest_circuits.discover import Found, find_specs, is_spec, right_name
from pytest_circuits.errors import REFUSED
from pytest_circuits.gate.outputs import forget_earlier, refuse_to_replace, write_outputs
from pytest_circuits.gate.settings import named_outputs, read_settings
from pytest_circuits.gate.state import Expected, Gate, Outcome

EVIDENCE = "circuits_evidence"  # attribute of a report: JSON text
REFUSAL = "circuits_refusal"  # attribute of a report: lines, columns and texts
WORKER = "circuits"  # key of what an xdist worker hands over


def now() -> float:
    """The time, in seconds since 1970."""
    return time.time()


def open_gate(config: pytest.Config) -> Gate:
    """Return the gate of a run; UsageError when it is asked for something that cannot be done."""
    try:
        settings = read_settings(config)
    except pytest.UsageError:
        forget_earlier(config, named_outputs(config))
        raise
    handed = getattr(config, "workerinput", {}).get(WORKER)  # by `hand_over`
    return Gate(config, settings, started=handed["started"] if handed else now())


def start(gate: Gate) -> None:
    """Refuse what cannot be a gate, before anything runs: UsageError, or exit status 2."""
    from pytest_circuits.gate.loading import (  # noqa: PLC0415  (torch)
        load_named_models,
        open_benches,
    )

    config = gate.config
    forget_earlier(config, gate.settings.outputs)
    if not (gate.is_worker or gate.only_collects):
        refuse_to_replace(gate.settings.outputs)
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = [str(path) for path in gate.settings.paths]
        config.args_source = pytest.Config.ArgsSource.ARGS
    if not gate.is_worker:
        gate.found = _find(config)
    gate.loaded = open_benches(config, gate.settings)
    if not gate.is_worker:
        problem = load_named_models(gate.benches)
        if problem is not None:
            _give_up(gate, problem)


def _give_up(gate: Gate, problem: str) -> NoReturn:
    """End a run whose models cannot be used, with the reports that were asked for."""
    from pytest_circuits.report.run import Run  # noqa: PLC0415

    if not gate.only_collects:
        gate.run = write_outputs(gate, Run((), (), problems=(problem,)), complete=False)
        _annotate(gate, gate.config.pluginmanager.get_plugin("terminalreporter"))
    pytest.exit(problem, returncode=REFUSED)


def header(gate: Gate) -> list[str]:
    """Return the effective settings, for the top of the output."""
    from pytest_circuits.gate.header import header_lines  # noqa: PLC0415

    return header_lines(gate.benches, gate.found.specs)


def collect_file(gate: Gate, path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Return a collector for a specification, None for any other file."""
    if not is_spec(path):
        return None
    from pytest_circuits.gate.collect import CircuitFile  # noqa: PLC0415

    file: CircuitFile = CircuitFile.from_parent(parent, path=path)
    file.benches = gate.benches
    return file


def expect(gate: Gate, item: pytest.Item) -> None:
    """Remember a claim as asked for."""
    from pytest_circuits.gate.collect import ClaimItem  # noqa: PLC0415

    if isinstance(item, ClaimItem):
        circuit = item.prepared.circuit
        gate.circuits[circuit.name] = circuit
        place = item.prepared.place_of(item.name)
        gate.expected[item.nodeid] = Expected(item.nodeid, circuit.name, item.name, place)


def hand_over(gate: Gate, node: Any) -> None:  # noqa: ANN401  (a type of xdist)
    """Tell a worker when the run began, so that all of it has one date."""
    node.workerinput[WORKER] = {"started": gate.started}


def attach(
    gate: Gate, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport
) -> None:
    """Put the evidence on a claim's report, as text: it has to cross processes.

    A claim that a waiver lets through is an expected failure; one that passes in spite of a waiver
    is a failure, as the gate fails for it.
    """
    from pytest_circuits.gate.collect import ClaimFailed, ClaimItem  # noqa: PLC0415

    if not isinstance(item, ClaimItem):
        return
    # Hypothesis shows how to repeat its search in Python code that a user does not have.
    report.sections = [section for section in report.sections if section[0] != "Hypothesis"]
    item.__dict__.pop("_hypothesis_failing_examples", None)
    if report.when == "call" and item.evidence is not None:
        from pytest_circuits.gate.waivers import mark  # noqa: PLC0415
        from pytest_circuits.report.record import evidence_to_json  # noqa: PLC0415

        if report.failed and not (call.excinfo and isinstance(call.excinfo.value, ClaimFailed)):
            return  # something failed after the claim was decided

        report.__dict__[EVIDENCE] = json.dumps(evidence_to_json(item.evidence), allow_nan=False)
        mark(gate, item, report)


def note_collection(gate: Gate, report: pytest.CollectReport) -> None:
    """Remember a specification that could not be collected, and why."""
    if not (report.failed and _is_claim(report.nodeid)):
        return
    from pytest_circuits.report.run import Refusal  # noqa: PLC0415

    spec = report.nodeid.partition("::")[0]
    gate.refused[spec] = None
    unknown = [(1, 1, "an error, shown in the log, kept it from being collected")]
    for line, column, text in report.__dict__.get(REFUSAL, unknown):
        gate.refusals.append(Refusal(spec, line, column, text))


def attach_refusal(collector: pytest.Collector, report: pytest.CollectReport) -> None:
    """Put the places of what is wrong with a specification on its report: it crosses processes."""
    from pytest_circuits.gate.collect import CircuitFile  # noqa: PLC0415

    if isinstance(collector, CircuitFile) and collector.refusal:
        report.__dict__[REFUSAL] = collector.refusal


def note_outcome(gate: Gate, report: pytest.TestReport) -> None:
    """Remember what a report says about a claim; a second report never hides the first."""
    if not _is_claim(report.nodeid):
        return
    outcome = gate.outcomes.setdefault(report.nodeid, Outcome())
    outcome.seconds += report.duration
    evidence = report.__dict__.get(EVIDENCE)
    if evidence is not None:
        outcome.evidence.append(evidence)
    elif report.failed:
        outcome.failed = "run" if report.when in {None, "???"} else report.when  # a worker crashed
    elif report.skipped:
        outcome.skipped = _reason(report)


def merge_worker(gate: Gate, node: Any) -> None:  # noqa: ANN401  (a type of xdist)
    """Take over what a worker collected; a worker that crashed has nothing to hand over."""
    from pytest_circuits.report.record import circuit_from_json  # noqa: PLC0415
    from pytest_circuits.report.run import Place  # noqa: PLC0415

    handed = getattr(node, "workeroutput", {}).get(WORKER)
    if handed is None:
        return
    for fields in handed["circuits"]:
        circuit = circuit_from_json(fields)
        if gate.circuits.setdefault(circuit.name, circuit) != circuit:
            gate.changed.add(circuit.name)
    for fields in handed["expected"]:
        expected = Expected(**{**fields, "place": Place(**fields["place"])})
        gate.expected[expected.nodeid] = expected
    gate.deselected.update(handed["deselected"])


def finish(gate: Gate, session: pytest.Session) -> None:
    """Decide the verdict, write what was asked for and set the exit status."""
    if gate.is_worker:
        gate.config.workeroutput[WORKER] = {  # type: ignore[attr-defined]  # given by xdist
            "circuits": [asdict(circuit) for circuit in gate.circuits.values()],
            "expected": [asdict(expected) for expected in gate.expected.values()],
            "deselected": sorted(gate.deselected),
        }
        return
    if gate.only_collects or session.exitstatus == pytest.ExitCode.INTERNAL_ERROR:
        return
    from pytest_circuits.gate.recording import record_baselines  # noqa: PLC0415
    from pytest_circuits.gate.verdict import exit_status, settle  # noqa: PLC0415

    gate.run = settle(gate)
    complete = not gate.refused and session.exitstatus != pytest.ExitCode.INTERRUPTED
    if complete:
        gate.run = record_baselines(gate, gate.run)
    gate.run = write_outputs(gate, gate.run, complete=complete)
    session.exitstatus = exit_status(gate, gate.run, session.exitstatus)


def summarize(gate: Gate, reporter: pytest.TerminalReporter) -> None:
    """Print the section `circuits`."""
    if gate.run is None:
        return
    from pytest_circuits.report.terminal import summary  # noqa: PLC0415

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


def _annotate(gate: Gate, reporter: pytest.TerminalReporter | None) -> None:
    """Mark what does not pass in the files of a pull request, where GitHub reads the output."""
    asked = gate.settings.annotations and os.environ.get("GITHUB_ACTIONS") == "true"
    if gate.run is None or reporter is None or not asked:
        return
    from pytest_circuits.report.annotations import workflow_commands  # noqa: PLC0415

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
    return found


def _shown(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def _is_claim(nodeid: str) -> bool:
    return is_spec(Path(nodeid.partition("::")[0]))


def _reason(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return "without a reason"
