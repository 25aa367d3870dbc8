"""What a search is asked for, as plain values, and where what it finds on the way lies.

circuits/quote_close.circuit.yaml
circuits/.prune/quote_close.circuit.yaml-1f0c9a7e/lock
.gitignore
...            see `stages`
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path

from pytest_circuits.errors import CircuitsError, UsageError
from pytest_circuits.system.lock import hold

FOLDER = ".prune"


@dataclass(frozen=True, slots=True)
class Request:
    """Specifications that are searched together, where each result is written, and the options.

    Other processes are given it as it is.
    """

    specs: tuple[str, ...]
    targets: tuple[str, ...]
    model: str | None
    state: str | None
    device: str | None
    method: str
    start: str
    steps: int
    seed: int
    seeds: int
    sufficient_only: bool
    exhaust: bool
    rivals: bool
    certify: bool
    calibrate: bool
    edges: bool
    controls: bool

    def each(self) -> list[Request]:
        """The same for one specification at a time."""
        both = zip(self.specs, self.targets, strict=True)
        return [replace(self, specs=(spec,), targets=(target,)) for spec, target in both]

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Request:
        values = json.loads(text)
        values |= {name: tuple(values[name]) for name in ("specs", "targets")}
        return Request(**values)

    @property
    def name(self) -> str:
        """What a job for it is called."""
        return Path(self.specs[0]).name.removesuffix(".circuit.yaml")

    @property
    def place(self) -> Path:
        """The folder of the folders: beside what is written, or where the user wants it."""
        return Path(self.state) if self.state else Path(self.targets[0]).parent / FOLDER

    @property
    def folders(self) -> list[Path]:
        """What is kept about each result lies here; the name tells those of equal names apart."""
        folders = []
        for one in self.each():
            target = Path(one.targets[0])
            where = sha256(str(target.resolve()).encode()).hexdigest()[:8]
            folders.append(one.place / f"{target.name}-{where}")
        return folders

    @contextmanager
    def taking(self) -> Iterator[None]:
        """Keep other processes out of the folders, which are made.

        Raises:
            UsageError: another process is in one of them.

        """
        with ExitStack() as locks:
            for folder in self.folders:
                locks.enter_context(hold(folder, doing="pruning", option="--state"))
                with saving(folder):
                    (folder / ".gitignore").write_text("*\n", encoding="utf-8")
            yield

    def clear(self) -> None:
        """Remove what has served, and what lies beside it of a search that was given up.

        The folders must have been taken. What cannot be removed does no harm.
        """
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)
            if folder.parent.name == FOLDER:
                with suppress(OSError):  # others are in use
                    folder.parent.rmdir()


def targets_of(specs: Sequence[Path], out: Path | None) -> tuple[str, ...]:
    """Where the results are written; UsageError where they cannot be."""
    if out is not None and len(specs) > 1:
        raise UsageError("--out is for one SPEC; without it, each is written to its own file")
    targets = [out] if out else list(specs)
    seen: set[Path] = set()
    for target in targets:
        writable = os.access(target if target.exists() else target.parent, os.W_OK)
        if not writable or target.is_dir():
            raise UsageError(f"{target}: cannot be written; name a file in a folder that exists")
        if target.resolve() in seen:
            raise UsageError(f"{target}: is named twice")
        seen.add(target.resolve())
    return tuple(map(str, targets))


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
