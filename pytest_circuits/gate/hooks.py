"""The hooks of a run with `--circuits`; each hands over to one function."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

from pytest_circuits.discover import is_spec
from pytest_circuits.gate.bookkeeping import (
    attach,
    attach_refusal,
    expect,
    hand_to_worker,
    merge_worker,
    note_collection,
    note_outcome,
)
from pytest_circuits.gate.collect import CircuitFile
from pytest_circuits.gate.header import header_lines
from pytest_circuits.gate.live import clear, tell
from pytest_circuits.gate.session import finish, open_gate, start, summarize
from pytest_circuits.gate.settings import Settings


class GateHooks:
    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self.gate = open_gate(config, settings)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        start(self.gate)

    def pytest_report_header(self) -> list[str]:
        return header_lines(self.gate.benches, self.gate.found.specs)

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> CircuitFile | None:
        return CircuitFile.of(self.gate.benches, file_path, parent) if is_spec(file_path) else None

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        expect(self.gate, item)

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        self.gate.deselected.update(item.nodeid for item in items)

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        report = yield
        attach_refusal(collector, report)
        return report

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        note_collection(self.gate, report)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        attach(self.gate, item, call, report)
        return report

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        tell(self.gate, nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        clear(self.gate, report)
        note_outcome(self.gate, report)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: object) -> None:
        hand_to_worker(self.gate, node)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        merge_worker(self.gate, node)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        finish(self.gate, session)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        summarize(self.gate, terminalreporter)
