"""The folder of a run: what a training that was killed needs to go on.

`DIR.training/` lies beside the model directory `DIR` and holds the lock, `run.json` (what is being
trained), the token files, the checkpoints and the metrics. When the model is written, the
checkpoints and token files have served; `run.json` and the metrics stay.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pytest_circuits.errors import UsageError
from pytest_circuits.system.files import parse_json, read_bounded, write_atomic

_MAX_BYTES = 2**20


class Decides(Protocol):
    """A configuration of a run."""

    def decisive(self) -> dict[str, Any]:
        """The part of it that decides the weights."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where the state of the run lies that makes the model directory `out`."""

    out: Path

    @property
    def path(self) -> Path:
        return self.out.with_name(f"{self.out.name}.training")

    @property
    def tokens(self) -> Path:
        return self.path / "tokens"

    @property
    def finished(self) -> bool:
        """Whether the model is there, and this run made it."""
        return (self.path / "run.json").is_file() and any(self.out.glob("config.json"))

    def take_up(self, config: Decides, *, resume: bool, parent: str | None = None) -> None:
        """Make sure that this folder is of this configuration, and may be gone on with.

        parent: digest of the model that the run starts from. Raises UsageError where another run
        lies there, or one that `resume` was not said about.
        """
        record = self.path / "run.json"
        wanted = json.loads(json.dumps(config.decisive() | {"parent": parent}))
        if not record.is_file() or not self.has_state:
            write_atomic(record, (json.dumps(wanted, indent=1, sort_keys=True) + "\n").encode())
            return
        content = read_bounded(record, max_bytes=_MAX_BYTES, error=UsageError)
        found = parse_json(content, source=str(record), error=UsageError)
        if not resume:
            raise UsageError(
                f"{self.path}: an earlier run began here; go on with it by --resume, or remove the "
                "folder to start from nothing"
            )
        other = sorted(_differences(found, wanted))
        if other:
            raise UsageError(
                f"{self.path}: the run there has another {', '.join(other)}; resume it with "
                "its own configuration, or name another --out"
            )

    @property
    def has_state(self) -> bool:
        """Whether a run began here."""
        return (
            self.finished
            or self.tokens.is_dir()
            or any(self.path.glob(".checkpoint-*.aside"))
            or any(self.path.glob("checkpoint-*"))
        )

    def forget(self) -> None:
        """Remove the folder, of a run that was refused before its first step."""
        shutil.rmtree(self.path, ignore_errors=True)

    def clear(self) -> None:
        """Remove what only an unfinished run needs."""
        for path in (self.tokens, *self.path.glob("checkpoint-*")):
            shutil.rmtree(path, ignore_errors=True)


def _differences(found: dict[str, Any], wanted: dict[str, Any], prefix: str = "") -> list[str]:
    names = []
    for key in found.keys() | wanted.keys():
        one, other = found.get(key), wanted.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            names += _differences(one, other, f"{prefix}{key}.")
        elif one != other:
            names.append(f"{prefix}{key}")
    return names
