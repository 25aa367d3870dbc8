"""The figures of a run as it goes: `metrics.jsonl`, and TensorBoard where it is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pytest_circuits.errors import UsageError
from pytest_circuits.system.files import write_atomic

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS = "metrics.jsonl"


class Metrics:
    """Takes one mapping of figures a step; each line of the file has its step."""

    def __init__(self, file: IO[str] | None, board: SummaryWriter | None) -> None:
        self._file, self._board = file, board

    def add(self, step: int, figures: dict[str, Any]) -> None:
        """Write the figures of a step, so that a reader sees whole lines."""
        if self._file is None:
            return
        self._file.write(json.dumps({"step": step, **figures}, sort_keys=True) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in _scalars(figures):
                self._board.add_scalar(name, value, step)


@contextmanager
def recording(folder: Path | None, *, after: int, tensorboard: bool) -> Iterator[Metrics]:
    """Append to the metrics of a run that goes on after a step; later lines are of a lost part.

    Without a folder nothing is recorded: of several processes one writes.
    """
    if folder is None:
        yield Metrics(None, None)
        return
    board = _board(folder / "tensorboard", after=after) if tensorboard else None
    path = folder / METRICS
    if path.exists():
        write_atomic(path, "".join(_lines_up_to(path, after)).encode())
    try:
        with path.open("a", encoding="utf-8") as file:
            yield Metrics(file, board)
    finally:
        if board is not None:
            board.close()


def _lines_up_to(path: Path, step: int) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        try:
            kept = line.endswith("\n") and json.loads(line)["step"] <= step
        except (ValueError, TypeError, KeyError):  # of a process that was killed while writing
            continue
        if kept:
            yield line


def _board(folder: Path, *, after: int) -> SummaryWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  (optional)
    except ImportError as error:
        raise UsageError(
            "metrics.tensorboard needs the package tensorboard: pip install "
            f"'pytest-circuits[tensorboard]', or take the key out; {METRICS} has the same figures"
        ) from error
    return SummaryWriter(str(folder), purge_step=after + 1)


def _scalars(figures: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from _scalars(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", float(value)
