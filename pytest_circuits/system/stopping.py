"""Asking long work to stop: a signal sets a flag and the loop decides when, or ends it at once.

The first is for work whose state can only be saved between two steps; the second for work that
saves its state now and then, and loses no more than a kill would.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from types import FrameType
from typing import Any

_INSISTING = (signal.SIGTERM, signal.SIGINT)
# SIGUSR1 is what SLURM is told to send before a time limit (`--signal=B:USR1@120`).
_SIGNALS = (*_INSISTING, *(s for s in signal.Signals if s.name == "SIGUSR1"))
_ECHO = 0.5  # seconds: timeout(1) sends its signal to the process and to its group


@dataclass(slots=True)
class Stop:
    """The name of the signal that asked first, if one has."""

    asked: str | None = None


class Interrupted(KeyboardInterrupt):
    """A signal asked the work to end; its argument is the name of the signal."""


@contextmanager
def stop_requests() -> Iterator[Stop]:
    """Note the first SIGTERM, SIGINT or SIGUSR1; a second SIGTERM or SIGINT ends at once.

    Signals reach only the main thread: in any other one nothing is ever asked.
    """
    stop = Stop()

    def note(number: int) -> None:
        stop.asked = stop.asked or signal.Signals(number).name

    def end(number: int) -> None:
        signals.give_back()  # a third one is not waited for
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    signals = _Signals(note, end, insisting=_INSISTING)
    with signals.received():
        yield stop


@contextmanager
def interruptions() -> Iterator[None]:
    """Raise `Interrupted` at the first SIGTERM, SIGINT or SIGUSR1, wherever the work is.

    What ends the work is not disturbed by a second signal, unless that one comes half a second
    later or more. Outside the main thread, where no signals arrive, nothing is raised.
    """

    def end(number: int) -> None:
        raise Interrupted(signal.Signals(number).name)

    signals = _Signals(end, end, insisting=_SIGNALS)
    with signals.received():
        try:
            yield
        finally:  # the echo would end the process before it has said how to go on
            signals.let_echo_pass()


@dataclass(slots=True)
class _Signals:
    """Signals on their way to two functions: the first one, and those that insist later on."""

    first: Callable[[int], None]
    later: Callable[[int], None]
    insisting: Sequence[int]  # of these, another within a moment is the same request again
    _since: float = -inf  # when the first that insists came
    _previous: dict[signal.Signals, Any] = field(default_factory=dict)

    @contextmanager
    def received(self) -> Iterator[None]:
        """Have signals handled meanwhile; in another thread than the main one, none is."""
        self._previous = {number: signal.getsignal(number) for number in _SIGNALS}
        try:
            for number in _SIGNALS:
                signal.signal(number, self._handle)
        except ValueError:
            yield
            return
        try:
            yield
        finally:
            self.give_back()

    def give_back(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def let_echo_pass(self) -> None:
        time.sleep(max(0.0, self._since + _ECHO - time.monotonic()))

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        now = time.monotonic()
        if number not in self.insisting:
            self.first(number)
        elif self._since == -inf:
            self._since = now
            self.first(number)
        elif now - self._since > _ECHO:
            self.later(number)
