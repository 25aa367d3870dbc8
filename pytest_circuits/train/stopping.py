"""Asking a training run to stop: a signal sets a flag, and the loop decides when."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
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
