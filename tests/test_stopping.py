"""Signals that ask long work to stop."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from pytest_circuits.system import stopping
from pytest_circuits.system.stopping import Interrupted, Stop, interruptions, stop_requests

ASKING = ["SIGTERM", "SIGINT", "SIGUSR1"]
LOOP = """\
import time
from pytest_circuits.system.stopping import stop_requests
with stop_requests() as stop:
    print("ready", flush=True)
    while not stop.asked:
        time.sleep(0.01)
    time.sleep(0.3)  # a last checkpoint
    print("saved after", stop.asked)
"""

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


def _send(name: str) -> None:
    os.kill(os.getpid(), getattr(signal, name))
    time.sleep(0.01)


@pytest.mark.parametrize("name", ASKING)
def test_a_signal_is_noted_and_the_handlers_come_back(name: str) -> None:
    before = [signal.getsignal(getattr(signal, each)) for each in ASKING]
    with stop_requests() as stop:
        assert stop.asked is None
        _send(name)
        assert stop.asked == name
    assert [signal.getsignal(getattr(signal, each)) for each in ASKING] == before


@pytest.mark.parametrize(
    ("first", "second", "raised"),
    [
        ("SIGINT", "SIGINT", KeyboardInterrupt),
        ("SIGTERM", "SIGINT", KeyboardInterrupt),
        ("SIGINT", "SIGTERM", SystemExit),
        ("SIGTERM", "SIGTERM", SystemExit),
    ],
)
def test_a_second_request_ends_at_once(
    first: str, second: str, raised: type[BaseException]
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(raised) as caught, stop_requests() as stop:  # noqa: PT012  (a sequence)
        _send(first)
        time.sleep(0.6)
        assert stop.asked == first
        _send(second)
    assert caught.value.args == ((143,) if raised is SystemExit else ())
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_warning_and_then_a_request_only_ask() -> None:
    with stop_requests() as stop:
        _send("SIGUSR1")
        _send("SIGUSR1")
        time.sleep(0.6)
        _send("SIGTERM")
        assert stop.asked == "SIGUSR1"


def test_the_same_request_sent_twice_within_a_moment_only_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stopping, "_ECHO", 60.0)  # a loaded machine has long moments
    with stop_requests() as stop:
        _send("SIGTERM")
        _send("SIGTERM")
        assert stop.asked == "SIGTERM"


def test_outside_the_main_thread_nothing_is_asked() -> None:
    seen: list[Stop] = []

    def work() -> None:
        with stop_requests() as stop:
            seen.append(stop)

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [Stop(asked=None)]
    assert signal.getsignal(signal.SIGTERM) == before


def test_an_error_inside_passes_and_the_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError, match="of the body"), stop_requests():
        raise ValueError("of the body")
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.skipif(shutil.which("timeout") is None, reason="needs timeout(1)")
def test_timeout_which_signals_twice_leaves_time_to_save() -> None:
    with subprocess.Popen(
        ["timeout", "60", sys.executable, "-c", LOOP],  # noqa: S607
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)  # it treats this as the end of its time
        assert process.communicate() == ("saved after SIGTERM\n", "")


@pytest.mark.parametrize("name", ASKING)
def test_an_interruption_is_raised_where_the_work_is_and_its_echo_is_not(
    name: str,
) -> None:
    before = [signal.getsignal(getattr(signal, each)) for each in ASKING]
    ended = False
    with pytest.raises(Interrupted, match=name), interruptions():  # noqa: PT012  (a sequence)
        try:
            _send(name)
        finally:
            _send(name)
            ended = True
    assert ended
    assert [signal.getsignal(getattr(signal, each)) for each in ASKING] == before


def test_a_later_interruption_is_raised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_ECHO", 0.0)
    with interruptions():
        for _ in range(2):
            with pytest.raises(Interrupted):
                _send("SIGTERM")


def test_outside_the_main_thread_nothing_is_interrupted() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    def work() -> None:
        with interruptions():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
