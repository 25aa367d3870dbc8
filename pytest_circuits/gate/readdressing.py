"""`--circuits-match`: circuits found again in a candidate with other addresses for their nodes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest_circuits
from pytest_circuits.circuit.check import check_circuit
from pytest_circuits.circuit.matching import Match
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.readdress import against, find_again, readdressed
from pytest_circuits.claims.setup import make_bench
from pytest_circuits.claims.stable.baseline import check_origin
from pytest_circuits.claims.stable.baseline_file import baseline_path, read_baseline
from pytest_circuits.errors import ModelError, SpecError, UsageError
from pytest_circuits.model.protocol import Model
from pytest_circuits.prune.search import reprune
from pytest_circuits.report.run import Matched
from pytest_circuits.spec.load import LoadedSpec, load_spec
from pytest_circuits.spec.types import Spec
from pytest_circuits.spec.write import write_spec

if TYPE_CHECKING:
    from pytest_circuits.gate.loading import Benches

_HEADER = """\
The circuit of {source}, found again in another model. Review its nodes, then let it
take the place of that file; `found_by` says how alike the nodes are.
"""


@dataclass(frozen=True, slots=True)
class Readdressed:
    """A circuit on the bench at the candidate's addresses, and what is told about that."""

    bench: Bench
    matched: Matched


def match_in(benches: Benches, loaded: LoadedSpec, model: Model) -> Readdressed:
    """Find the circuit of a specification again, and put it on the bench beside the one it was.

    A specification with the new addresses is written for review, unless every node is where it
    was. Raises SpecError for a circuit that the model it is known in cannot have, BaselineError
    where that model is not the one of the recorded baseline, and UsageError where it would replace
    a file that was not written like this.
    """
    base = _base(benches, loaded)
    if problems := check_circuit(loaded, base):
        raise SpecError(*problems)
    if recorded := read_baseline(baseline_path(loaded.path, loaded.spec.circuit)):
        check_origin(loaded, base, recorded)
    match = find_again(loaded, model, base)
    digests = {"base": base.digest, "candidate": model.digest}
    target = _target(benches, loaded)
    spec = readdressed(
        loaded.spec,
        match,
        model=_path_from(target.parent, model),
        digests=digests,
        version=pytest_circuits.__version__,
    )
    found = _written(target, spec, loaded) if match.moved else loaded
    seed = benches.search_seed
    bench = make_bench(found, model, search_seed=seed, beside=loaded, pruner=reprune)
    file = benches.relative(target) if match.moved else None
    return Readdressed(against(bench, base, loaded.spec, match), _told(match, file))


def _base(benches: Benches, loaded: LoadedSpec) -> Model:
    """The model that the circuit is known in."""
    path, _ = benches.compared(loaded) or (loaded.model_path, "")
    if not os.path.isdir(path):  # noqa: PTH112  (bears any name)
        raise ModelError(
            f"{benches.shown(path)}: is not there, and --circuits-match compares the candidate "
            f"with the model that {loaded.path} names; give it as --circuits-baseline"
        )
    return benches.model(path)


def _target(benches: Benches, loaded: LoadedSpec) -> Path:
    """Where the new specification goes; what lies there has to come from an earlier match."""
    folder = benches.settings.match
    assert folder is not None  # noqa: S101  (nothing is matched unless it is asked for)
    target = folder.path / f"{loaded.spec.circuit}.circuit.yaml"
    if target.exists():
        try:
            mine = "matched_with" in load_spec(target).spec.found_by
        except SpecError:
            mine = False
        if not mine:
            raise UsageError(
                f"--circuits-match: {benches.shown(target)} was not written by it and stays as it "
                "is; name another folder"
            )
    return target


def _path_from(folder: Path, model: Model) -> str:
    return Path(os.path.relpath(model.path.resolve(), folder.resolve())).as_posix()


def _written(target: Path, spec: Spec, source: LoadedSpec) -> LoadedSpec:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{target.parent}: cannot be made: {error.strerror}") from None
    write_spec(spec, path=target, header=_HEADER.format(source=source.path.name))
    return load_spec(target)


def _told(match: Match, file: str | None) -> Matched:
    alike = [abs(value) for value in match.alike.values()]
    return Matched(file=file, moved=match.moved, mean=sum(alike) / len(alike), least=min(alike))
