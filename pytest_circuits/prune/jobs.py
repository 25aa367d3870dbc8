"""Requests as jobs, each in a process of its own, some at a time.

A fresh process for each job, and not a pool of them: one that dies takes no other job with it, and
all that one job says can be kept together.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from signal import Signals
from tempfile import TemporaryFile
from threading import Lock
from typing import IO

import click

from pytest_circuits.errors import MISUSED, REFUSED, STOPPED
from pytest_circuits.prune.request import Request
from pytest_circuits.system.progress import reporting

CRASHED = 70  # exit status of a job with an error that is no user's (EX_SOFTWARE of sysexits.h)
GO_ON = "what it had found is kept: run the same command again to go on"
_WORKER = "pytest_circuits.prune.worker"
_BADNESS = (0, 1, STOPPED, REFUSED, MISUSED, CRASHED)  # exit statuses, the worst last
_ENDS = {0: "found", 1: "no circuit found"}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a job ended, and what it had to say."""

    status: int
    text: str


def worst(statuses: Iterable[int]) -> int:
    """The exit status of a command from those of its jobs."""
    return max((s if s in _BADNESS else CRASHED for s in statuses), key=_BADNESS.index)


def name_of(request: Request) -> str:
    """What a job is called."""
    return Path(request.specs[0]).name.removesuffix(".circuit.yaml")


def end_of(status: int) -> str:
    """How a job ended, in words."""
    return _ENDS.get(status, f"failed, exit status {status}")


def in_processes(requests: Sequence[Request], devices: Sequence[str | None], at_once: int) -> int:
    """Run jobs, some at a time, which take turns on the devices; returns the worst exit status.

    What they say on the way comes line by line; their results at the end, in their order.
    """
    ended: dict[int, Ended] = {}
    with reporting("jobs", len(requests)) as reporter:
        work = _Work(_slots(devices, at_once), reporter.say)
        with ThreadPoolExecutor(at_once) as pool:
            futures = {pool.submit(work.run, request): i for i, request in enumerate(requests)}
            try:
                for future in as_completed(futures):
                    index = futures[future]
                    ended[index] = future.result()
                    name, how = name_of(requests[index]), end_of(ended[index].status)
                    reporter.say(f"{name}: {how}")
                    reporter.at(len(ended))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                work.stop()
                raise
    return told([ended[index] for index in sorted(ended)])


def told(ended: Sequence[Ended]) -> int:
    """Write the results of jobs to standard output; returns the worst exit status."""
    for each in ended:
        click.echo(each.text, nl=False)
    return worst(each.status for each in ended)


def _slots(devices: Sequence[str | None], count: int) -> SimpleQueue[str | None]:
    slots: SimpleQueue[str | None] = SimpleQueue()
    for index in range(count):
        slots.put(devices[index % len(devices)])
    return slots


@dataclass(slots=True)
class _Work:
    """The processes that are at work; used from several threads."""

    slots: SimpleQueue[str | None]  # the device of each process that may run
    say: Callable[[str], None]
    _running: set[subprocess.Popen[str]] = field(default_factory=set)
    _stopped: bool = False
    _lock: Lock = field(default_factory=Lock)

    def run(self, request: Request) -> Ended:
        """Run one job to its end."""
        device = self.slots.get()
        try:
            with TemporaryFile("w+", encoding="utf-8") as out:
                process = self._start(replace(request, device=device), out)
                status = STOPPED if process is None else self._follow(process, name_of(request))
                out.seek(0)
                return Ended(status, out.read())
        finally:
            self.slots.put(device)

    def stop(self) -> None:
        """End all processes, and start no more."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()

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
                    self.say(f"{name}: {line.rstrip()}")
            status = process.wait()
        with self._lock:
            self._running.discard(process)
        if status >= 0 or self._stopped:
            return status if status >= 0 else STOPPED
        self.say(f"{name}: its process was ended by {Signals(-status).name}; {GO_ON}")
        return STOPPED
