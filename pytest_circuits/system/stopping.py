"""Asking long work to stop: a signal sets a flag and the loop decides when, or ends it at once.

The first is for work whose state can only be saved between two steps; the second for work that
saves its state now and then, and loses no more than a kill would.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_INSISTING = (signal.SIGTERM, signal.SIGINT)
# SIGUSR1 is what SLURM is told to send before a time limit (`--signal=B:USR1@120`).
_SIGNALS = (*_INSISTING, *(s for s in signal.Signals if s.name == "SIGUSR1"))
_ECHO = 0.5  # seconds: timeout(1) sends its signal to the process and to its group


@dataclass(slots=True)
class Stop:
    """The name of the signal that asked first, if one has."""

    asked: str | None = None


@contextmanager
def stop_requests() -> Iterator[Stop]:
    """Note the first SIGTERM, SIGINT or SIGUSR1; a second SIGTERM or SIGINT ends at once.

    Signals reach only the main thread: in any other one nothing is ever asked.
    """
    stop = Stop()
    previous = {number: signal.getsignal(number) for number in _SIGNALS}
    first: list[float] = []  # when the first SIGTERM or SIGINT came

    def receive(number: int, frame: FrameType | None) -> None:
        del frame
        stop.asked = stop.asked or signal.Signals(number).name
        now = time.monotonic()
        if number not in _INSISTING:
            return
        if not first:
            first.append(now)
        if now - first[0] <= _ECHO:
            return
        restore()
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    try:
        for number in _SIGNALS:
            signal.signal(number, receive)
    except ValueError:  # not in the main thread
        yield stop
        return
    try:
        yield stop
    finally:
        restore()


class Interrupted(KeyboardInterrupt):
    """A signal asked the work to end; its argument is the name of the signal."""


@contextmanager
def interruptions() -> Iterator[None]:
    """Raise `Interrupted` at the first SIGTERM, SIGINT or SIGUSR1, wherever the work is.

    What ends the work is not disturbed by a second signal, unless that one comes half a second
    later or more. Outside the main thread, where no signals arrive, nothing is raised.
    """
    first: list[float] = []

    def receive(number: int, frame: FrameType | None) -> None:
        del frame
        now = time.monotonic()
        if not first or now - first[0] > _ECHO:
            first.append(now)
            raise Interrupted(signal.Signals(number).name)

    previous = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        for number in _SIGNALS:
            signal.signal(number, receive)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        if first:  # the echo would end the process before it has said how to go on
            time.sleep(max(0.0, first[0] + _ECHO - time.monotonic()))
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
