"""What the claims of each specification need, loaded once per process and model."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch

from pytest_circuits.circuit.check import check_circuit
from pytest_circuits.circuit.edges import count_edges
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.registry import declared
from pytest_circuits.claims.setup import make_bench
from pytest_circuits.claims.stable.baseline import Live, Recorded, check_comparable, facts
from pytest_circuits.claims.stable.baseline_file import baseline_path, read_baseline
from pytest_circuits.errors import BaselineError, ModelError, SpecError, UsageError
from pytest_circuits.gate.provenance import Read, absolute, drawing_of, files_of
from pytest_circuits.gate.readdressing import match_in
from pytest_circuits.gate.settings import Directory, Settings, Update
from pytest_circuits.model.device import usable_device
from pytest_circuits.model.open import load_model
from pytest_circuits.model.protocol import Model
from pytest_circuits.model.reference_file import check_reference
from pytest_circuits.prompts.space import check_prompts
from pytest_circuits.prune.reprune import reprune
from pytest_circuits.report.run import Artifact, Baseline, Circuit, File, Matched, Place, Waiver
from pytest_circuits.spec.load import LoadedSpec, load_spec
from pytest_circuits.spec.problems import Problem
from pytest_circuits.system.files import witnessed


@dataclass(frozen=True, slots=True)
class Prepared:
    """A specification with all that its claims need."""

    bench: Bench
    circuit: Circuit
    source: LoadedSpec  # as it was written; the bench has another one for a matched circuit
    path: Path  # of the specification, absolute
    shown: str  # the same as the user can open it
    options: tuple[str, ...]  # that a command needs to test the same model again
    selfcheck: int  # seeds under which the gate is put to the test itself; 0: not at all
    will_record: bool  # the run records the baseline, so that `stable` decides nothing yet

    def line_of(self, claim: str) -> int:
        """The line of the specification that makes a claim, counted from 1."""
        return self.place_of(claim).line

    def place_of(self, claim: str) -> Place:
        """Where the specification makes a claim, and how it is run again."""
        at = self.source.problem_at(("claims", claim), "", key=True)
        return Place(self.shown, at.line, at.col, self.command(claim))

    def command(self, claim: str) -> str:
        """The command that runs one claim again, quoted for a shell."""
        nodeid = f"{self.shown}::{self.circuit.name}::{claim}"
        return shlex.join(["pytest", "--circuits", *self.options, nodeid])


def open_benches(config: pytest.Config, settings: Settings) -> Benches:
    """Return what loads specifications and models for a run; UsageError for a missing device."""
    # Workers that each take all cores get in each other's way: many times slower than one alone.
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    torch.set_num_threads(max(1, torch.get_num_threads() // workers))
    seed = config.getoption("hypothesis_seed", default=None)
    return Benches(
        settings=settings,
        root=config.rootpath,
        folder=config.invocation_params.dir,
        device=_device(settings),
        search_seed=_search_seed(seed),
    )


def _device(settings: Settings) -> str:
    try:
        return usable_device(settings.device)
    except UsageError as error:
        raise pytest.UsageError(f"--circuits-device: {error}") from None


def load_named_models(benches: Benches) -> str | None:
    """Load the models of the command line and the ini file; returns what is wrong with one."""
    for place in (benches.settings.model, benches.settings.baseline):
        if place is not None:
            try:
                benches.model(place.path)
            except ModelError as error:
                return str(error)
    return None


@dataclass(slots=True)
class Benches:
    """Loads specifications and models, each at most once."""

    settings: Settings
    root: Path
    folder: Path  # where pytest was started
    device: str
    search_seed: int | None = None
    models: dict[Path, Model | ModelError] = field(default_factory=dict)
    read: dict[Path, set[Read]] = field(default_factory=dict)  # to load the models
    prepared: dict[Path, Prepared] = field(default_factory=dict)
    owners: dict[str, Path] = field(default_factory=dict)  # circuit name -> its specification

    @property
    def device_name(self) -> str:
        """The device as evidence names it: numbers differ between kinds of GPU."""
        if torch.device(self.device).type != "cuda":
            return self.device
        return f"{self.device} ({torch.cuda.get_device_name(self.device)})"

    def prepare(self, path: Path) -> Prepared:
        """Return a specification ready to be tested; CircuitsError says why it cannot be."""
        if path not in self.prepared:
            self.prepared[path] = self._prepare(path)
        return self.prepared[path]

    def model(self, path: Path) -> Model:
        """Return a model; the reason why it cannot be loaded is given once in full."""
        if path in self.models:
            known = self.models[path]
            if isinstance(known, ModelError):
                raise ModelError(f"{self.shown(path)}: cannot be used, for the reason given before")
            return known
        with witnessed() as read:
            try:
                model = load_model(Path(self.shown(path)), device=self.device)
                check_reference(model)
            except ModelError as error:
                self.models[path] = error
                raise
        self.models[path], self.read[path] = model, absolute(read, self.folder)
        return model

    def shown(self, path: Path) -> str:
        """Return a path as the user can open it."""
        relative = os.path.relpath(path, self.folder)
        return (
            str(path) if relative.startswith("..") and len(relative) > len(str(path)) else relative
        )

    def relative(self, path: Path) -> str:
        """Return the path of a file for reports, which never hold an absolute one."""
        return Path(os.path.relpath(path, self.root)).as_posix()

    def artifact(self, model: Model, path: Path, given: str) -> Artifact:
        """Return what reports say about a model; of a folder elsewhere, only what was given."""
        if path.is_relative_to(self.root):
            return Artifact(self.relative(path), model.digest)
        absolute = Path(given).is_absolute()
        return Artifact(path.name if absolute else Path(given).as_posix(), model.digest)

    def _prepare(self, path: Path) -> Prepared:
        with witnessed() as read:
            loaded = load_spec(Path(self.shown(path)))
            self._claim_name(loaded, path)
            loaded.require_nodes()
            model, artifact = self._candidate(loaded)
            bench, matched = self._bench_or_match(loaded, model)
        baseline = self._told_baseline(bench, loaded, path)
        _refuse(_check_prompts(bench))
        update = self.settings.update
        return Prepared(
            bench=bench,
            circuit=replace(
                self._circuit(bench, path, artifact, self._files(loaded, artifact, baseline, read)),
                baseline=baseline,
                waivers=self._waivers(loaded, path),
                matched=matched,
            ),
            source=loaded,
            path=path,
            shown=os.path.relpath(path, self.folder),
            options=self._options(),
            selfcheck=self.settings.selfcheck,
            will_record=update is Update.CHANGED or (update is Update.NEW and not bench.baseline),
        )

    def _claim_name(self, loaded: LoadedSpec, path: Path) -> None:
        owner = self.owners.setdefault(loaded.spec.circuit, path)
        if owner != path:
            raise SpecError(
                loaded.problem_at(
                    ("circuit",),
                    f"circuit '{loaded.spec.circuit}' already stands in {self.shown(owner)}",
                    "give each circuit its own name",
                )
            )

    def _candidate(self, loaded: LoadedSpec) -> tuple[Model, Artifact]:
        asked = self.settings.model
        path = asked.path if asked else loaded.model_path
        given = asked.given if asked else loaded.spec.model
        model = self.model(path)
        return model, self.artifact(model, path, given)

    def _bench_or_match(self, loaded: LoadedSpec, model: Model) -> tuple[Bench, Matched | None]:
        """Put the circuit on the bench, at other addresses where these are to be found."""
        if self.settings.match and any(loaded.spec.nodes.values()):
            found = match_in(self, loaded, model)
            return found.bench, found.matched
        _refuse(check_circuit(loaded, model))
        return self._bench(loaded, model), None

    def _bench(self, loaded: LoadedSpec, model: Model) -> Bench:
        """Put the circuit on the bench, beside its baseline where there is one."""
        try:
            bench = make_bench(
                loaded,
                model,
                baseline=self._baseline(loaded),
                search_seed=self.search_seed,
                pruner=reprune,
            )
        except (BaselineError, ModelError):
            if self.settings.update is not Update.CHANGED:
                raise
            # The baseline is to be replaced.
            bench = make_bench(loaded, model, search_seed=self.search_seed, pruner=reprune)
        if not bench.baseline and self.settings.model and os.path.isdir(loaded.model_path):  # noqa: PTH112  (bears any name)
            own = self.model(loaded.model_path)
            check_comparable(model, facts(own), what=f"the model that {loaded.path} names")
        return bench

    def _baseline(self, loaded: LoadedSpec) -> Recorded | Model | None:
        if self.settings.baseline:
            return self.model(self.settings.baseline.path)
        return read_baseline(baseline_path(loaded.path, loaded.spec.circuit))

    def compared(self, loaded: LoadedSpec) -> tuple[Path, str] | None:
        """The folder of the model that a circuit is compared with, and how it was named."""
        asked = self.settings.baseline
        if asked:
            return asked.path, asked.given
        return (loaded.model_path, loaded.spec.model) if self.settings.match else None

    def _told_baseline(self, bench: Bench, loaded: LoadedSpec, path: Path) -> Baseline | None:
        """What reports say about the baseline: at least which model it is of."""
        if bench.baseline is None:
            return None
        compared = self.compared(loaded)
        if compared and isinstance(bench.baseline, Live):
            found = self.artifact(bench.baseline.runner.model, *compared)
            return Baseline(found.path, found.digest, recorded=False)
        file = baseline_path(path, loaded.spec.circuit)
        return Baseline(self.relative(file), bench.baseline.model.digest, recorded=True)

    def _circuit(
        self, bench: Bench, path: Path, artifact: Artifact, files: tuple[File, ...]
    ) -> Circuit:
        return Circuit(
            name=bench.spec.circuit,
            spec=self.relative(path),
            digest=bench.loaded.digest,
            declared=declared(bench.spec),
            nodes=bench.nodes.count,
            edges=count_edges(bench.nodes, bench.model, bench.edges),
            files=files,
            drawing=drawing_of(bench),
            reference_digest=bench.runner.reference.digest,
            model=artifact,
            baseline=None,
            device=self.device_name,
            left_out=dict(bench.spec.undeclared.items()),
        )

    def _files(
        self, loaded: LoadedSpec, artifact: Artifact, baseline: Baseline | None, read: set[Read]
    ) -> tuple[File, ...]:
        asked, compared = self.settings.model, self.compared(loaded)
        models = {asked.path if asked else loaded.model_path: ("model", artifact)}
        if compared and baseline and not baseline.recorded:
            there = Artifact(baseline.path, baseline.model_digest)
            models.setdefault(compared[0], ("baseline model", there))
        everything = absolute(read, self.folder).union(*(self.read[path] for path in models))
        return files_of(loaded, everything, models, self.relative)

    def _waivers(self, loaded: LoadedSpec, path: Path) -> dict[str, Waiver]:
        found = {}
        for claim, given in loaded.spec.waivers.items():
            at = loaded.problem_at(("waivers", claim), "", key=True)
            place = f"{self.relative(path)}:{at.line}:{at.col}"
            found[claim] = Waiver(given.until.isoformat(), given.reason, place)
        return found

    def _as_given(self, place: Directory) -> str:
        """The folder that an option names; reports hold commands, and no absolute path."""
        absolute = Path(place.given).is_absolute()
        return os.path.relpath(place.path, self.folder) if absolute else place.given

    def _options(self) -> tuple[str, ...]:
        """Options of this run that a reader has to repeat: not those of the ini file."""
        given = self.settings
        named = (
            ("--circuits-model", given.model),
            ("--circuits-baseline", given.baseline),
            ("--circuits-match", given.match),
        )
        options = [
            word
            for option, place in named
            if place and place.source == "command line"
            for word in (option, self._as_given(place))
        ]
        if given.device and given.device_source == "command line":
            options += ["--circuits-device", given.device]
        if given.selfcheck:
            options.append(f"--circuits-selfcheck={given.selfcheck}")
        if self.search_seed is not None:
            options.append(f"--hypothesis-seed={self.search_seed}")
        return tuple(options)


def _search_seed(given: str | int | None) -> int | None:
    if given is None or given == "random":
        return None  # the gate is never random: the specification decides
    try:
        return int(given)
    except ValueError:
        raise pytest.UsageError(f"--hypothesis-seed: {given!r} is not a whole number") from None


def _refuse(problems: Sequence[Problem]) -> None:
    if problems:
        raise SpecError(*problems)


def _check_prompts(bench: Bench) -> tuple[Problem, ...]:
    """Problems of the prompts that the claims are going to ask, with this model's tokenizer."""
    regressions = [bench.space.parse(text) for text in bench.spec.regressions]
    return check_prompts(
        bench.loaded,
        bench.model.encode,
        max_tokens=bench.model.max_tokens,
        pairs=[*filter(None, regressions), *bench.sample.pairs],
        decode=bench.model.decode_token,
    )
