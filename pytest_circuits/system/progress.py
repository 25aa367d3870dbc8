"""Progress of long work: one live line on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_PLAIN_EVERY = 30.0  # seconds between two lines when the output is not a terminal


@dataclass(slots=True)
class Reporter:
    """Where the steps of one piece of work are told."""

    about: str
    total: int
    console: Console
    live: Progress | None
    _last: float = field(default_factory=time.monotonic)
    _first: tuple[int, float] | None = None  # steps and time when the first step was told

    def at(self, done: int, detail: str = "") -> None:
        """Tell that `done` of the total steps are behind us."""
        if self.live is not None:
            self.live.update(self.live.task_ids[0], completed=done, detail=detail)
            return
        now = time.monotonic()
        self._first = self._first or (done, now)
        if done == self.total or now - self._last >= _PLAIN_EVERY:
            self._last = now
            line = f"{self.about}: {done}/{self.total}  {detail}".rstrip()
            self.console.print(line + self._remaining(done, now), style="")

    def _remaining(self, done: int, now: float) -> str:
        first, start = self._first or (done, now)
        if not first < done < self.total:
            return ""
        seconds = round((now - start) / (done - first) * (self.total - done))
        return f"  {timedelta(seconds=seconds)} left"

    def say(self, text: str) -> None:
        """Print one line above the progress."""
        self.console.print(text, highlight=False)


@contextmanager
def reporting(about: str, total: int, *, quiet: bool = False) -> Iterator[Reporter]:
    """Report progress to standard error, so that results alone go to standard output."""
    console = Console(stderr=True, soft_wrap=True, highlight=False, quiet=quiet)
    if quiet or not console.is_terminal:
        yield Reporter(about, total, console, None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}", style="dim"),
    )
    with Progress(*columns, console=console) as live:
        live.add_task(about, total=total, detail="")
        yield Reporter(about, total, console, live)
