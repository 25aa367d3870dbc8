"""Trains or takes the models of a sweep, searches their circuits, and measures both.

Each step is a command that a user could have typed, and is shown as one. What is done is kept in
the folder of the sweep, so that the same command goes on where it was stopped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from math import log
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from pytest_circuits.discover import SUFFIX
from pytest_circuits.errors import STOPPED, CircuitsError, StoppedError, UsageError
from pytest_circuits.frontier.config import FrontierConfig, Member
from pytest_circuits.model.arithmetic import own_arithmetic
from pytest_circuits.model.open import opener
from pytest_circuits.model.protocol import Model
from pytest_circuits.model.reference_file import text_windows, window_of
from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.spec.load import LoadedSpec, load_spec
from pytest_circuits.system.files import parse_json, read_bounded, write_atomic
from pytest_circuits.system.sources import source_digest
from pytest_circuits.train.sparsity import nonzeros

RECORD = "frontier.json"
ROOMS = ("prune", "claims", "compile", "circuit", "model", "prompts", "spec", "system", "errors")
_MOST_BYTES = 2**26
_ROWS = 16  # windows of text in a forward
_ENOUGH = 512  # windows of text that loss is measured on, spread evenly
_FOUND_NOTHING = 1  # exit status of a search that found no circuit


@dataclass(frozen=True, slots=True)
class Size:
    """The circuit of one behavior in one model."""

    circuit: str
    nodes: int | None  # None: none was found
    edges: int | None
    task_loss: float | None  # nats, of the circuit alone
    why: str  # there is none, in a sentence; empty where there is one
    key: str  # digest of all that it depends on


@dataclass(frozen=True, slots=True)
class Point:
    """One model of a sweep."""

    name: str
    digest: str
    weights: int | None  # nonzero ones of its sparse matrices; None: it is no weight-sparse GPT
    nats_per_token: float  # on the text of the sweep
    bits_per_byte: float  # the same; models of other tokenizers can be compared by it
    sizes: tuple[Size, ...] = ()


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep of models.

    base: the folder of the configuration. out: where models, circuits and the record are kept.
    tell: is given each command before it runs, and what it says on the way.
    """

    config: FrontierConfig
    base: Path
    out: Path
    tell: Callable[[str], None]

    def run(self) -> Iterator[tuple[Point, ...]]:
        """Give what is known of all models, after each circuit that was searched.

        Raises UsageError where the text is too short, or two specifications have one name; what
        the commands raise; StoppedError where one was stopped.
        """
        specs = [load_spec(path) for path in _files(self.base, self.config.specs)]
        text = _files(self.base, self.config.text)
        names = [loaded.spec.circuit for loaded in specs]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UsageError(f"two specifications are named {', '.join(twice)}; rename one")
        done: tuple[Point, ...] = ()
        known = {size.key: size for point in recorded(self.out) for size in point.sizes}
        for name, member in self.config.models.items():
            folder = self._model(name, member)
            opened = opener(most=1)
            point = _measured(name, opened(specs[0], folder), text)
            for loaded in specs:
                key = _key(loaded, opened(loaded, folder), self.config)
                size = known.get(key) or self._searched(name, loaded, folder, key)
                point = replace(point, sizes=(*point.sizes, size))
                _record((*done, point), self.out)
                yield (*done, point)
            done = (*done, point)

    def _model(self, name: str, member: Member) -> Path:
        """The directory of a model, which is trained where it is not there yet."""
        if member.model is not None:
            return self.base / member.model
        folder = self.out / "models" / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        config = self.base / str(member.train)
        self._command("train", str(config), "--out", str(folder), "--resume", good=(0,))
        return folder

    def _searched(self, name: str, loaded: LoadedSpec, model: Path, key: str) -> Size:
        """The circuit of a behavior in a model."""
        folder, asked = self.out / "circuits" / name, self.config.prune
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{loaded.spec.circuit}{SUFFIX}"  # file names may be alike
        status, said = self._command(
            *("prune", str(loaded.path), "--model", str(model), "--out", str(target)),
            *("--steps", str(asked.steps), "--seeds", str(asked.seeds), "--no-controls"),
            good=(0, _FOUND_NOTHING),
        )
        if status == _FOUND_NOTHING:
            return Size(loaded.spec.circuit, None, None, None, said, key)
        spec = load_spec(target).spec
        return Size(
            circuit=spec.circuit,
            nodes=sum(map(len, spec.nodes.values())),
            edges=None if spec.edges is None else sum(map(len, spec.edges.values())),
            task_loss=float(str(spec.found_by["task_loss"])),
            why="",
            key=key,
        )

    def _command(self, *asked: str, good: tuple[int, ...]) -> tuple[int, str]:
        """Run one of our commands: its exit status, if it is a good one, and its last words."""
        self.tell(f"pytest-circuits {' '.join(asked)}")
        with subprocess.Popen(  # noqa: S603  (this Python, and no shell)
            [sys.executable, "-m", "pytest_circuits", *asked],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        ) as process:
            last = ""
            try:
                for line in process.stderr or ():
                    last = line.strip() or last
                    self.tell(f"  {line.rstrip()}")
                status = process.wait()
            except BaseException:
                process.terminate()
                raise
        last = last.removeprefix("Error: ")
        if status == STOPPED:
            raise StoppedError(last)
        if status not in good:
            raise CircuitsError(
                f"`pytest-circuits {' '.join(asked)}` ended with {status}; why stands above"
            )
        return status, last


def _files(base: Path, names: Sequence[str]) -> list[Path]:
    """The files of these names, of which a name with `*` may be many; UsageError where none is."""
    found: list[Path] = []
    for name in names:
        some = sorted(base.glob(name)) if "*" in name else [base / name]
        if not some:
            raise UsageError(f"{base / name}: there are no such files")
        found += some
    return found


def recorded(out: Path) -> tuple[Point, ...]:
    """What the folder of a sweep says of its models; nothing where there is no record yet."""
    path = out / RECORD
    if not path.exists():
        return ()
    content = read_bounded(path, max_bytes=_MOST_BYTES, error=UsageError)
    try:
        found = parse_json(content, source=str(path), error=UsageError)
        return tuple(
            Point(**{**point, "sizes": tuple(Size(**size) for size in point["sizes"])})
            for point in found["models"]
        )
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"{path}: is no record of a sweep; name another --out, or remove it"
        ) from error


def _record(points: Sequence[Point], out: Path) -> None:
    record = {"schema_version": 1, "models": [asdict(point) for point in points]}
    text = json.dumps(record, indent=1, sort_keys=True, allow_nan=False)
    write_atomic(out / RECORD, f"{text}\n".encode())


@own_arithmetic()
@torch.inference_mode()
def _measured(name: str, model: Model, text: Sequence[Path]) -> Point:
    """What is to say of a model itself; its loss is the mean over the tokens of windows."""
    windows = text_windows(text, model.encode, length=window_of(model))
    windows = windows[:: max(1, len(windows) // _ENOUGH)]
    losses, size = 0.0, 0
    for start in range(0, len(windows), _ROWS):
        some = windows[start : start + _ROWS]
        logits = model.run(some.to(model.device))[:, :-1]
        wanted = some[:, 1:].to(logits.device)
        losses += float(
            cross_entropy(logits.movedim(-1, 1), wanted, reduction="none").double().sum()
        )
        size += sum(
            len("".join(map(model.decode_token, row)).encode()) for row in some[:, 1:].tolist()
        )
    return Point(
        name=name,
        digest=model.digest,
        weights=sum(nonzeros(model.module).values()) if isinstance(model, SparseModel) else None,
        nats_per_token=round(losses / windows[:, 1:].numel(), 4),
        bits_per_byte=round(losses / size / log(2), 4),
    )


def _key(loaded: LoadedSpec, model: Model, config: FrontierConfig) -> str:
    spec = loaded.spec.model_dump(
        mode="json", by_alias=True, exclude={"nodes", "edges", "found_by"}
    )
    told = [spec, model.digest, config.prune.model_dump(), source_digest(*ROOMS), torch.__version__]
    return sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
