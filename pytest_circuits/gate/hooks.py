"""The hooks of a run with `--circuits`; each hands over to one function."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

from pytest_circuits.gate import session as gates
from pytest_circuits.gate.state import Gate


class GateHooks:
    """What pytest calls while the gate runs."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    @classmethod
    def opened(cls, config: pytest.Config) -> GateHooks:
        """Return the hooks of a run; UsageError when it is asked for what cannot be done."""
        return cls(gates.open_gate(config))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Refuse what cannot be a gate before anything runs."""
        gates.start(self.gate)

    def pytest_report_header(self) -> list[str]:
        """Show the effective settings."""
        return gates.header(self.gate)

    def pytest_collect_file(
        self, file_path: Path, parent: pytest.Collector
    ) -> pytest.Collector | None:
        """Collect a specification."""
        return gates.collect_file(self.gate, file_path, parent)

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Remember a claim as asked for, before anything can deselect it."""
        gates.expect(self.gate, item)

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Remember what was deselected."""
        self.gate.deselected.update(item.nodeid for item in items)

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Put on the report where a specification is wrong."""
        report = yield
        gates.attach_refusal(collector, report)
        return report

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember which specifications could not be collected."""
        gates.note_collection(self.gate, report)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put the evidence on the report, which is what crosses processes."""
        report = yield
        gates.attach(self.gate, item, call, report)
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember what became of a claim."""
        gates.note_outcome(self.gate, report)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: object) -> None:
        """Hand a worker of xdist what all of the run has to agree on."""
        gates.hand_over(self.gate, node)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        """Take over what a worker of xdist collected."""
        gates.merge_worker(self.gate, node)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Decide the verdict, write baselines and report, set the exit status."""
        gates.finish(self.gate, session)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the summary."""
        gates.summarize(self.gate, terminalreporter)
