"""Requests as jobs that are waited for, and jobs in processes of this machine, some at a time.

A fresh process for each job, and not a pool of them: one that dies takes no other job with it, and
all that one job says can be kept together.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from queue import SimpleQueue
from tempfile import TemporaryFile
from threading import Lock, Thread
from typing import IO, Protocol

import click

from pytest_circuits.errors import MISUSED, REFUSED, STOPPED
from pytest_circuits.prune.request import Request
from pytest_circuits.system.progress import reporting

CRASHED = 70  # exit status of a job with an error that is no user's (EX_SOFTWARE of sysexits.h)
GO_ON = "what it had found is kept: run the same command again to go on"
_WORKER = "pytest_circuits.prune.jobs"
_PAUSE = 0.05  # seconds between two looks at the processes
_BADNESS = (0, 1, STOPPED, REFUSED, MISUSED, CRASHED)  # exit statuses, the worst last
_ENDS = {0: "found", 1: "no circuit found"}


@dataclass(frozen=True, slots=True)
class Ended:
    status: int
    text: str


def worst(statuses: Iterable[int]) -> int:
    """The exit status of a command from those of its jobs."""
    return max((s if s in _BADNESS else CRASHED for s in statuses), key=_BADNESS.index)


class Work(Protocol):
    """Jobs that were begun, somewhere."""

    def ended(self, index: int) -> Ended | None:
        """How a job ended; None while it runs."""

    def stop(self) -> None:
        """End all jobs, and start no more."""


def finish(
    requests: Sequence[Request], begin: Callable[[Callable[[str], None]], Work], *, pause: float
) -> int:
    """Begin a job for each request, and wait for all; returns the worst exit status.

    What they say on the way comes line by line; their results at the end, in their order.
    """
    ended: dict[int, Ended] = {}
    with reporting("jobs", len(requests)) as reporter:
        work = begin(reporter.say)
        try:
            while len(ended) < len(requests):
                for index, request in enumerate(requests):
                    if index not in ended and (end := work.ended(index)) is not None:
                        ended[index] = end
                        how = _ENDS.get(end.status, f"failed, exit status {end.status}")
                        reporter.say(f"{request.name}: {how}")
                        reporter.at(len(ended))
                time.sleep(pause if len(ended) < len(requests) else 0)
        except BaseException:
            work.stop()
            raise
    for index in sorted(ended):
        click.echo(ended[index].text, nl=False)
    return worst(end.status for end in ended.values())


def in_processes(requests: Sequence[Request], devices: Sequence[str | None], at_once: int) -> int:
    """Run jobs in processes, some at a time, which take turns on the devices."""
    return finish(requests, lambda say: _Processes(requests, devices, at_once, say), pause=_PAUSE)


class _Processes:
    """The processes that are at work; used from several threads."""

    def __init__(
        self,
        requests: Sequence[Request],
        devices: Sequence[str | None],
        at_once: int,
        say: Callable[[str], None],
    ) -> None:
        self._say, self._stopped, self._lock = say, False, Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._slots: SimpleQueue[str | None] = SimpleQueue()  # the device of each that may run
        for index in range(at_once):
            self._slots.put(devices[index % len(devices)])
        self._pool = ThreadPoolExecutor(at_once)
        self._jobs = [self._pool.submit(self._run, request) for request in requests]

    def ended(self, index: int) -> Ended | None:
        return self._jobs[index].result() if self._jobs[index].done() else None

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()
        self._pool.shutdown(cancel_futures=True)

    def _run(self, request: Request) -> Ended:
        device = self._slots.get()
        try:
            with TemporaryFile("w+", encoding="utf-8") as out:
                process = self._start(replace(request, device=device), out)
                status = STOPPED if process is None else self._follow(process, request.name)
                out.seek(0)
                return Ended(status, out.read())
        finally:
            self._slots.put(device)

    def _start(self, request: Request, out: IO[str]) -> subprocess.Popen[str] | None:
        with self._lock:
            if self._stopped:
                return None
            process = subprocess.Popen(  # noqa: S603  (this Python, and no shell)
                [sys.executable, "-m", _WORKER, request.to_json()],
                stdin=subprocess.PIPE,  # ends with this process, and the worker with it
                stdout=out,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            )
            self._running.add(process)
            return process

    def _follow(self, process: subprocess.Popen[str], name: str) -> int:
        """Pass on what a process says until it ends."""
        with process:
            for line in process.stderr or ():
                if not self._stopped:
                    self._say(f"{name}: {line.rstrip()}")
            status = process.wait()
        with self._lock:
            self._running.discard(process)
        if status >= 0 or self._stopped:
            return status if status >= 0 else STOPPED
        self._say(f"{name}: its process was ended by {signal.Signals(-status).name}; {GO_ON}")
        return STOPPED


def main() -> int:
    """One job: search what the command line says; returns the exit status.

    It ends when its standard input does, so that no job outlives a command that was killed.
    """
    # Ctrl-C reaches all processes of a terminal; the one that started this one ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_the_command, daemon=True).start()
    try:
        from pytest_circuits.prune.run import perform  # noqa: PLC0415  (torch, after the signal)

        return perform(Request.from_json(sys.argv[1]))
    except Exception:  # noqa: BLE001  (a traceback's own status, 1, is that of a search in vain)
        traceback.print_exc()
        return CRASHED


def _end_with_the_command() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(STOPPED)


if __name__ == "__main__":
    sys.exit(main())
