"""The driver of a search: what a stage finds is kept, so that a killed search goes on from there.

    3b2e....json    what a stage found
    77d0..../       checkpoints of masks that are being learnt

The name of a file is the digest of everything that its content depends on: behavior, model,
settings, code, what the sums are computed with. So nothing that is out of date is ever found, and
nothing has to be compared. Each file says itself whether it is whole.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from operator import attrgetter
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, get_type_hints

import torch
from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from pytest_circuits.circuit.nodes import Node, Nodes
from pytest_circuits.errors import CircuitsError, UsageError
from pytest_circuits.model.checkpoints import Checkpoint, CheckpointError, newest, save
from pytest_circuits.model.reference import Reference
from pytest_circuits.prune.plan import PrunePlan, Start
from pytest_circuits.prune.refine import Proposer
from pytest_circuits.prune.request import saving
from pytest_circuits.prune.subject import NotFoundError, Subject
from pytest_circuits.system.files import parse_json, read_bounded, write_atomic
from pytest_circuits.system.sources import digest_of_file_of, source_digest

P = ParamSpec("P")
T = TypeVar("T")

# At work in a search.
ROOMS = ("prune", "claims", "compile", "circuit", "model", "prompts", "spec", "system", "errors")
_EVERY = 10.0  # seconds between two checkpoints of masks
_MOST_BYTES = 2**30  # of one file
_DIGEST = "sha256"
_DECISIVE = {"circuit", "behavior", "ablation", "claims", "protocol"}  # of a specification


@dataclass(frozen=True, slots=True)
class Stage(Generic[P, T]):
    """A step of a search: its name, what it does with a case, and what it finds, as JSON.

    It depends on the case and on what else it is given, and on nothing that was done before.
    """

    name: str
    work: Callable[Concatenate[Case, P], T]
    form: TypeAdapter[T]


def stage(work: Callable[Concatenate[Case, P], T]) -> Stage[P, T]:
    """A stage of the name of a function, which finds what its annotation says."""
    return Stage(work.__name__, work, TypeAdapter(get_type_hints(work)["return"]))


@dataclass(frozen=True, slots=True)
class Case:
    """One search: for what and how, and where what its stages find is kept."""

    subject: Subject
    reference: Reference
    plan: PrunePlan
    forbidden: Nodes  # which no circuit may have
    priced: Nodes  # which cost more
    notes: Notes

    @property
    def dear(self) -> frozenset[Node]:
        """The priced nodes, to ask whether a node is one of them."""
        return frozenset(self.priced)

    @property
    def proposer(self) -> Proposer:
        """The proposer of the subject, which knows these prices."""
        return self.subject.proposer.at_prices_of(self.dear)

    @classmethod
    def of(
        cls,
        subject: Subject,
        reference: Reference,
        plan: PrunePlan,
        folder: Path | None,
        *,
        forbidden: Nodes,
        priced: Nodes,
    ) -> Case:
        circumstances = _circumstances(subject, reference, plan)
        notes = Notes(folder).about(circumstances, list(forbidden), list(priced))
        return cls(subject, reference, plan, forbidden, priced, notes)

    def run(self, stage: Stage[P, T], *given: P.args, **named: P.kwargs) -> T:
        """What a stage finds, or the NotFoundError that it raises: worked out once."""

        def work() -> T:
            self.subject.judge.forget()  # what other stages asked must not move a last bit
            return stage.work(self, *given, **named)

        told = to_jsonable_python([given, named], fallback=attrgetter("key"))
        return self.notes.about(stage.name, told).once(work, stage.form)


def _circumstances(subject: Subject, reference: Reference, plan: PrunePlan) -> dict[str, Any]:
    """Everything that a search depends on to the last bit, as JSON."""
    device = subject.model.device
    return {
        "code": source_digest(*ROOMS),
        "adapter": digest_of_file_of(type(subject.model)),
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "model": subject.model.digest,
        "reference": reference.digest,
        "spec": subject.spec.model_dump(mode="json", by_alias=True, include=_DECISIVE),
        "plan": repr(plan),
        "start": subject.spec.nodes if plan.start is Start.SPEC else {},
    }


@dataclass(frozen=True, slots=True)
class Notes:
    """What is kept about a piece of work; without a folder nothing is."""

    folder: Path | None = None
    key: str = ""  # digest of everything that the work depends on

    def about(self, *what: object) -> Notes:
        """The notes about a part of the work, which depends on something more: JSON."""
        text = json.dumps([self.key, *what], sort_keys=True)
        return replace(self, key=sha256(text.encode()).hexdigest())

    def once(self, work: Callable[[], T], form: TypeAdapter[T]) -> T:
        """The result of the work, or its NotFoundError, from the notes if it was done before.

        What is done now is read as it will be read later, so that both go on with the same.
        """
        path = self.folder and self.folder / f"{self.key[:32]}.json"
        text = _recalled(path) if path else None
        if text is None:
            try:
                found = {"found": form.dump_python(work(), mode="json")}
            except NotFoundError as error:
                found = {"error": str(error)}
            text = json.dumps(found, sort_keys=True, allow_nan=False)
            if path:
                _keep(path, text)
        told = json.loads(text)
        if "error" in told:
            raise NotFoundError(told["error"])
        return form.validate_python(told["found"])

    def checkpoints(self) -> Checkpoints:
        """Where work that takes many steps keeps its state."""
        return Checkpoints(self.folder and self.folder / self.key[:32])


@dataclass(slots=True)
class Checkpoints:
    """The newest state of work that takes many steps."""

    folder: Path | None
    _last: float = field(default_factory=time.monotonic)

    def load(self) -> Checkpoint | None:
        """The newest one that is whole."""
        return newest(self.folder, say=lambda _: None) if self.folder else None

    def save(self, state: Callable[[], Checkpoint], *, now: bool) -> None:
        """Keep a state in place of the one before, if it is time or has to be now."""
        if self.folder is None or not (now or time.monotonic() - self._last >= _EVERY):
            return
        found = state()
        if not all(bool(tensor.isfinite().all()) for tensor in found.tensors.values()):
            return  # nobody should go on from there; that the search is in vain is said at its end
        try:
            save(self.folder, found, keep=1, continues="the same command continues")
        except CheckpointError as cause:
            raise CircuitsError(
                f"{cause}; make room, or name another folder with --state"
            ) from cause
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
