"""Where the notes of searches lie: one folder a result, kept from other processes.

circuits/quote_close.circuit.yaml
circuits/.prune/quote_close.circuit.yaml-1f0c9a7e/lock
.gitignore
...            see `notes`
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from pytest_circuits.errors import CircuitsError
from pytest_circuits.prune.request import Request
from pytest_circuits.system.lock import hold

FOLDER = ".prune"


def place_of(request: Request) -> Path:
    """The folder of the folders: beside what is written, or where the user wants it."""
    return Path(request.state) if request.state else Path(request.targets[0]).parent / FOLDER


def folders_of(request: Request) -> list[Path]:
    """Where the notes lie about each result; the name tells those of equal names apart."""
    folders = []
    for one in request.each():
        target = Path(one.targets[0])
        where = sha256(str(target.resolve()).encode()).hexdigest()[:8]
        folders.append(place_of(one) / f"{target.name}-{where}")
    return folders


@contextmanager
def taking(folders: Iterable[Path]) -> Iterator[None]:
    """Keep other processes out of some folders, which are made.

    Raises:
        UsageError: another process is in one of them.

    """
    with ExitStack() as locks:
        for folder in folders:
            locks.enter_context(hold(folder, doing="pruning", option="--state"))
            with saving(folder):
                (folder / ".gitignore").write_text("*\n", encoding="utf-8")
        yield


def clear(folders: Iterable[Path]) -> None:
    """Remove notes that have served, and those beside them of a search that was given up.

    The folders must have been taken. What cannot be removed does no harm.
    """
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
        if folder.parent.name == FOLDER:
            with suppress(OSError):  # others are in use
                folder.parent.rmdir()


@contextmanager
def saving(path: Path) -> Iterator[None]:
    """Say what to do where something cannot be written."""
    try:
        yield
    except OSError as cause:
        raise CircuitsError(
            f"{path}: cannot be written: {cause.strerror}; what was found is kept there, so make "
            "room, or name another folder with --state"
        ) from cause
