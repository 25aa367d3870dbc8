"""What the claims of each specification need, loaded once per process and model."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest
import torch

from pytest_circuits.circuit.check import check_circuit, refuse
from pytest_circuits.circuit.runner import Wholes
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.readdress import against
from pytest_circuits.claims.registry import require_nodes
from pytest_circuits.claims.setup import check_bench, make_bench
from pytest_circuits.claims.stable.baseline import Recorded, check_comparable, facts
from pytest_circuits.claims.stable.baseline_file import baseline_path, read_baseline
from pytest_circuits.claims.stable.released import check_measured
from pytest_circuits.errors import (
    BaselineError,
    CircuitsError,
    ModelError,
    SiteError,
    SpecError,
    UsageError,
)
from pytest_circuits.gate.handing import HandOver, from_hooks
from pytest_circuits.gate.names import Names, repeated_options
from pytest_circuits.gate.provenance import Read, Sources, circuit_of
from pytest_circuits.gate.readdressing import readdress
from pytest_circuits.gate.settings import Directory, Settings, Update
from pytest_circuits.model.arithmetic import own_arithmetic, own_arithmetic_for, threads_for
from pytest_circuits.model.open import at_its_sites, load_model, refuse_named, usable_device
from pytest_circuits.model.protocol import HandedOver, Model
from pytest_circuits.model.reference_file import check_reference, load_reference
from pytest_circuits.prune.pruner import pruner
from pytest_circuits.report.run import Circuit, Matched, Place
from pytest_circuits.spec.load import LoadedSpec, load_spec
from pytest_circuits.spec.sites import NamedSites
from pytest_circuits.system.files import witnessed

Asked: TypeAlias = tuple[Path, NamedSites]  # a directory, and where its sites are said to be


@dataclass(frozen=True, slots=True)
class Prepared:
    bench: Bench
    circuit: Circuit
    source: LoadedSpec  # as it was written; the bench has another one for a matched circuit
    path: Path  # of the specification, absolute
    shown: str  # the same as the user can open it
    options: tuple[str, ...]  # that a command needs to test the same model again
    selfcheck: int  # seeds under which the gate is put to the test itself; 0: not at all
    will_record: bool  # the run records the baseline, so that `stable` decides nothing yet
    most_threads: int  # that this process may take
    refuse_changed: Callable[[], None]  # of the models that were handed over

    def at_work(self) -> AbstractContextManager[None]:
        """While claims are decided, nobody else's settings count."""
        return own_arithmetic_for(self.bench.model, most=self.most_threads)

    def place_of(self, claim: str) -> Place:
        """Where the specification makes a claim, and how it is run again."""
        at = self.source.problem_at(("claims", claim), "", key=True)
        nodeid = f"{self.shown}::{self.circuit.name}::{claim}"
        command = shlex.join(["pytest", "--circuits", *self.options, nodeid])
        return Place(self.shown, at.line, at.col, command)


def open_benches(config: pytest.Config, settings: Settings, names: Names) -> Benches:
    """Return what loads specifications and models for a run; UsageError for a missing device."""
    seed = config.getoption("hypothesis_seed", default=None)
    return Benches(
        settings,
        names,
        device=_device(settings),
        hand_over=from_hooks(config),
        processes=_processes(config),
        most_threads=max(1, torch.get_num_threads() // _processes(config)),
        search_seed=_search_seed(seed),
    )


def _processes(config: pytest.Config) -> int:
    """How many processes of xdist share the cores; where each takes all, all are much slower."""
    asked = config.getoption("numprocesses", default=None)  # none in a worker, which is told
    return int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", asked or 1))


@dataclass(slots=True)
class Benches:
    """Loads specifications and models, each at most once."""

    settings: Settings
    names: Names
    device: str
    hand_over: HandOver  # what asks for the models that are built elsewhere
    processes: int = 1  # among which claims are shared
    most_threads: int = 1  # that each of them may take
    search_seed: int | None = None  # of `--hypothesis-seed`; None: the specification decides
    models: dict[Asked, Model | ModelError] = field(default_factory=dict)
    released: dict[Asked, Model | None] = field(default_factory=dict)  # that baselines are of
    handed: dict[Path, Path] = field(default_factory=dict)  # model -> the file that handed it over
    read: dict[Path, set[Read]] = field(default_factory=dict)  # to load the models
    wholes: Wholes = field(default_factory=dict)  # what is known of the models
    prepared: dict[Path, Prepared] = field(default_factory=dict)
    owners: dict[str, Path] = field(default_factory=dict)  # circuit name -> its specification

    @property
    def device_name(self) -> str:
        """The device as evidence names it: numbers differ between kinds of GPU."""
        if torch.device(self.device).type != "cuda":
            return self.device
        return f"{self.device} ({torch.cuda.get_device_name(self.device)})"

    def prepare(self, path: Path) -> Prepared:
        """A specification ready to be tested; CircuitsError says why it cannot be."""
        if path not in self.prepared:
            with own_arithmetic(self.most_threads):
                self.prepared[path] = self._prepare(path)
        return self.prepared[path]

    def model(self, path: Path, sites: NamedSites = ()) -> Model:
        """A model; the reason why it cannot be loaded is given once in full."""
        shown, asked = self.names.shown(path), (path, sites)
        if asked in self.models:
            known = self.models[asked]
            if isinstance(known, SiteError):  # at the line of each that names them
                raise known
            if isinstance(known, ModelError):
                raise ModelError(f"{shown}: cannot be used, for the reason given before")
            return known
        with witnessed() as read, own_arithmetic(self.most_threads):
            try:
                model = self._built_or_loaded(path, sites)
                check_reference(model)
            except ModelError as error:
                self.models[asked] = error
                raise
        self.models[asked], self.read[path] = model, self._absolute(read)
        return model

    def _built_or_loaded(self, path: Path, sites: NamedSites) -> Model:
        """A model that a conftest.py hands over, or what lies in the directory."""
        shown = Path(self.names.shown(path))
        handed = self.hand_over(shown, self.device)
        if handed is None:
            return load_model(shown, device=self.device, sites=sites)
        refuse_named(sites, shown, f"is handed over by {handed.file}")
        self.handed[path] = handed.file
        return handed.model

    def digest_or_nothing(self, path: Path, sites: NamedSites = ()) -> str:
        """The digest of a model; empty where it cannot be used.

        The reason is shown in full when a specification needs the model.
        """
        try:
            return self.model(path, sites).digest
        except SiteError:
            return ""
        except CircuitsError:
            self.models.pop((path, sites), None)
            return ""

    @property
    def threads(self) -> int:
        """That a process computes with, for the largest of the models that are loaded."""
        loaded = [model for model in self.models.values() if not isinstance(model, ModelError)]
        return max((threads_for(model, most=self.most_threads) for model in loaded), default=1)

    def _prepare(self, path: Path) -> Prepared:
        with witnessed() as read:
            loaded = load_spec(Path(self.names.shown(path)))
            self._claim_name(loaded, path)
            require_nodes(loaded)
            named = Directory(loaded.spec.model, loaded.model_path, "specification")
            candidate = self.settings.model or named
            compared = self.settings.baseline or (named if self.settings.match else None)
            with at_its_sites(loaded):
                model = self.model(candidate.path, loaded.spec.named)
                with own_arithmetic_for(model, most=self.most_threads):
                    bench, matched = self._put_on_a_bench(loaded, model, compared or named)
                    self.refuse_changed()
        check_bench(bench)
        made_of = Sources(
            loaded=loaded,
            path=path,
            candidate=candidate,
            compared=compared,
            matched=matched,
            read=self._absolute(read),
            read_for=self.read,
        )
        update = self.settings.update
        return Prepared(
            bench=bench,
            circuit=circuit_of(bench, made_of, self.names, device=self.device_name),
            source=loaded,
            path=path,
            shown=os.path.relpath(path, self.names.folder),
            options=repeated_options(self.settings, self.names, self.search_seed),
            selfcheck=self.settings.selfcheck,
            will_record=update is Update.CHANGED or (update is Update.NEW and not bench.baseline),
            most_threads=self.most_threads,
            refuse_changed=self.refuse_changed,
        )

    def refuse_changed(self) -> None:
        """Raise ModelError where a model is no longer what was handed over.

        A conftest.py may load other weights into one module, or go on with it.
        """
        for path in self.handed:
            for model in (self.models.get((path, ())), self.released.get((path, ()))):
                now = model.digest_now if isinstance(model, HandedOver) else None
                if isinstance(model, HandedOver) and now and now() != model.digest:
                    raise ModelError(
                        f"{self.names.shown(path)}: its module was changed after it was handed "
                        "over; build a module of its own for each path, and leave it alone"
                    )

    def _put_on_a_bench(
        self, loaded: LoadedSpec, model: Model, known_in: Directory
    ) -> tuple[Bench, Matched | None]:
        """The circuit at its own addresses, or at those where it is found again."""
        if self.settings.match and any(loaded.spec.nodes.values()):
            return self._matched(loaded, model, known_in, self.settings.match.path)
        refuse(check_circuit(loaded, model))
        return self._bench(loaded, model), None

    def _claim_name(self, loaded: LoadedSpec, path: Path) -> None:
        owner = self.owners.setdefault(loaded.spec.circuit, path)
        if owner != path:
            raise SpecError(
                loaded.problem_at(
                    ("circuit",),
                    f"circuit '{loaded.spec.circuit}' already stands in {self.names.shown(owner)}",
                    "give each circuit its own name",
                )
            )

    def _bench(self, loaded: LoadedSpec, model: Model) -> Bench:
        """Put the circuit on the bench, beside its baseline where there is one."""
        try:
            bench = self._on_the_bench(loaded, model, baseline=self._baseline(loaded))
            self._hold_to_its_model(bench)
        except (BaselineError, ModelError):
            if self.settings.update is not Update.CHANGED:
                raise
            bench = self._on_the_bench(loaded, model)  # the baseline is to be replaced
        if not bench.baseline and self.settings.model and _is_folder(loaded.model_path):
            own = self.model(loaded.model_path, loaded.spec.named)
            check_comparable(model, facts(own), what=f"the model that {loaded.path} names")
        return bench

    def _hold_to_its_model(self, bench: Bench) -> None:
        """Measure the model that a baseline file was recorded from, where the specification has it.

        A candidate that is this very model is compared with the file by `stable`.
        """
        recorded, asked = bench.baseline, (bench.loaded.model_path, bench.spec.named)
        if not isinstance(recorded, Recorded) or bench.model.digest == recorded.model.digest:
            return
        with witnessed():  # no evidence depends on it
            released = self._released(asked)
            if released and released.digest == recorded.model.digest:
                check_measured(bench, recorded, released)

    def _released(self, asked: Asked) -> Model | None:
        """The model that a specification names, if it can be loaded with a reference."""
        if asked not in self.released:
            try:
                model = self._built_or_loaded(*asked)
                load_reference(model)
            except ModelError:
                self.released[asked] = None
            else:
                self.released[asked] = model
        return self.released[asked]

    def _baseline(self, loaded: LoadedSpec) -> Recorded | Model | None:
        if self.settings.baseline:
            return self.model(self.settings.baseline.path, loaded.spec.named)
        return read_baseline(baseline_path(loaded.path, loaded.spec.circuit))

    def _matched(
        self, loaded: LoadedSpec, model: Model, known_in: Directory, folder: Path
    ) -> tuple[Bench, Matched]:
        """Put the circuit on the bench at the addresses where it is found in the candidate."""
        if not _is_folder(known_in.path):
            raise ModelError(
                f"{self.names.shown(known_in.path)}: is not there, and --circuits-match compares "
                f"the candidate with the model that {loaded.path} names; give it as "
                "--circuits-baseline"
            )
        base = self.model(known_in.path, loaded.spec.named)
        found = readdress(loaded, model, known_in=base, folder=folder, names=self.names)
        bench = self._on_the_bench(found.loaded, model, beside=loaded)
        return against(bench, base, loaded.spec, found.match), found.told

    @property
    def _on_the_bench(self) -> partial[Bench]:
        return partial(make_bench, search_seed=self.search_seed, pruner=pruner, wholes=self.wholes)

    def _absolute(self, read: set[Read]) -> set[Read]:
        """The same files by absolute paths; they were named as a user would."""
        return {(Path(os.path.normpath(self.names.folder / path)), sha) for path, sha in read}


def asked_by(specs: Iterable[Path], instead: Path | None = None) -> list[Asked]:
    """The models that specifications name, or one instead of them, as each names its sites."""
    found: dict[Asked, None] = {}
    for path in specs:
        try:
            loaded = load_spec(path)
        except CircuitsError:
            continue  # it is shown when the specification is collected
        found[instead or loaded.model_path, loaded.spec.named] = None
    return [*found] or ([] if instead is None else [(instead, ())])


def _device(settings: Settings) -> str:
    try:
        return usable_device(settings.device)
    except UsageError as error:
        raise pytest.UsageError(f"--circuits-device: {error}") from None


def _search_seed(given: str | int | None) -> int | None:
    if given is None or given == "random":
        return None  # the gate is never random: the specification decides
    try:
        return int(given)
    except ValueError:
        raise pytest.UsageError(f"--hypothesis-seed: {given!r} is not a whole number") from None


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112  (bears any name)
