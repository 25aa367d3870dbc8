"""Which claim is at work, behind pytest's dots: on a terminal alone, and gone when it is done."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext

import pytest

from pytest_circuits.gate.state import Gate
from pytest_circuits.report.safe_text import clean

# Keep the place and do not go on in the next line; back to it, and clear what stands there.
_BEGIN, _END = "\x1b7\x1b[?7l", "\x1b[?7h"
_CLEAR = "\x1b8\x1b[K"


def tell(gate: Gate, nodeid: str) -> None:
    """Say which claim begins, as long as pytest itself does not name it."""
    if (expected := gate.expected.get(nodeid)) and _is_shown(gate):
        total = len(gate.expected.keys() - gate.deselected)
        claim = clean(f"{expected.circuit}: {expected.claim}")
        _write(gate, f"{_BEGIN}  {len(gate.outcomes) + 1} of {total}, {claim}{_END}")
        gate.is_telling = True


def clear(gate: Gate, report: pytest.TestReport) -> None:
    """Take it away before pytest writes what came of it."""
    if gate.is_telling and (report.when != "setup" or not report.passed):
        _write(gate, _CLEAR)
        gate.is_telling = False


def _is_shown(gate: Gate) -> bool:
    reporter = gate.config.pluginmanager.get_plugin("terminalreporter")
    is_terminal = reporter is not None and bool(reporter.isatty)
    is_plain = gate.config.get_verbosity() or os.environ.get("TERM", "dumb") == "dumb"
    return is_terminal and not is_plain and not gate.is_worker


def _write(gate: Gate, text: str) -> None:
    capture = gate.config.pluginmanager.get_plugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        sys.stdout.write(text)
        sys.stdout.flush()
