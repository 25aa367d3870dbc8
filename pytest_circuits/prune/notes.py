"""What a search has found so far, on disk, so that a search that was killed goes on from there.

    3b2e....json          a stage that is finished
    77d0....safetensors   masks that are being learnt

The name of a file is the digest of everything that its content depends on: behavior, model,
settings, version, what the sums are computed with. So nothing that is out of date is ever found,
and nothing has to be compared. Each file says itself whether it is whole.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_circuits.errors import ModelError, UsageError
from pytest_circuits.model.tensor_file import digest_tensors, read_tensors, write_tensors
from pytest_circuits.prune.folders import saving
from pytest_circuits.system.files import parse_json, read_bounded, write_atomic

if TYPE_CHECKING:
    from torch import Tensor

_EVERY = 10.0  # seconds between two checkpoints of masks
_MOST_BYTES = 2**30  # of one file
_DIGEST = "sha256"
_METADATA = "pytest_circuits"  # key under which `write_tensors` puts what is not a tensor


@dataclass(frozen=True, slots=True)
class Notes:
    """The notes about a piece of work; without a folder nothing is kept."""

    folder: Path | None = None
    key: str = ""  # digest of everything that the work depends on

    def about(self, *what: object) -> Notes:
        """The notes about a part of the work, which depends on something more: JSON."""
        text = json.dumps([self.key, *what], sort_keys=True)
        return replace(self, key=sha256(text.encode()).hexdigest())

    def once(self, work: Callable[[], Any]) -> Any:  # noqa: ANN401  (JSON)
        """The result of the work, from the notes if it was done before: JSON.

        What is done now is read as it will be read later, so that both go on with the same.
        """
        path = self._path("json")
        found = _recalled(path) if path else None
        if found is None:
            found = json.dumps(work(), sort_keys=True, allow_nan=False)
            if path:
                _keep(path, found)
        return json.loads(found)

    def checkpoints(self) -> Checkpoints:
        """Where work that takes many steps keeps its state."""
        return Checkpoints(self._path("safetensors"))

    def _path(self, suffix: str) -> Path | None:
        return self.folder and self.folder / f"{self.key[:32]}.{suffix}"


@dataclass(slots=True)
class Checkpoints:
    """The newest state of work that takes many steps."""

    path: Path | None
    _last: float = field(default_factory=time.monotonic)

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors, and what is not a tensor; None where there is no whole checkpoint."""
        if self.path is None or not self.path.exists():
            return None
        try:
            tensors, metadata = read_tensors(self.path, max_bytes=_MOST_BYTES)
            state: dict[str, Any] = json.loads(metadata[_METADATA])
            whole = state.pop(_DIGEST) == _digest(tensors, state)
        except (ModelError, KeyError, ValueError):
            return None
        return (tensors, state) if whole else None

    def save(
        self, state: Callable[[], tuple[dict[str, Tensor], dict[str, Any]]], *, now: bool
    ) -> None:
        """Keep a state in place of the one before, if it is time or has to be now."""
        if self.path is None or not (now or time.monotonic() - self._last >= _EVERY):
            return
        tensors, rest = state()
        with saving(self.path):
            write_tensors(self.path, tensors, {**rest, _DIGEST: _digest(tensors, rest)})
        self._last = time.monotonic()


NOWHERE = Checkpoints(None)


def _recalled(path: Path) -> str | None:
    """The text that was kept, if it is there and whole."""
    if not path.exists():
        return None
    try:
        content = read_bounded(path, max_bytes=_MOST_BYTES, error=UsageError)
        document = parse_json(content, source=str(path), error=UsageError)
        text = str(document["value"])
        whole = document[_DIGEST] == sha256(text.encode()).hexdigest()
    except (UsageError, KeyError):
        return None
    return text if whole else None


def _keep(path: Path, text: str) -> None:
    document = {_DIGEST: sha256(text.encode()).hexdigest(), "value": text}
    with saving(path):
        write_atomic(path, json.dumps(document).encode())


def _digest(tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> str:
    return digest_tensors(tensors, json.dumps(rest, sort_keys=True))
