"""`--circuits-match`: circuits found again in a candidate with other addresses for their nodes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest_circuits
from pytest_circuits.circuit.check import check_circuit
from pytest_circuits.circuit.matching import Match
from pytest_circuits.claims.readdress import find_again, readdressed
from pytest_circuits.claims.stable.baseline import check_origin
from pytest_circuits.claims.stable.baseline_file import baseline_path, read_baseline
from pytest_circuits.errors import SpecError, UsageError
from pytest_circuits.gate.names import Names
from pytest_circuits.model.protocol import Model
from pytest_circuits.report.run import Matched
from pytest_circuits.spec.load import LoadedSpec, load_spec
from pytest_circuits.spec.types import Spec
from pytest_circuits.spec.write import write_spec

_HEADER = """\
The circuit of {source}, found again in another model. Review its nodes, then let it
take the place of that file; `found_by` says how alike the nodes are.
"""


@dataclass(frozen=True, slots=True)
class Readdressed:
    loaded: LoadedSpec
    match: Match
    told: Matched


def readdress(
    loaded: LoadedSpec, model: Model, *, known_in: Model, folder: Path, names: Names
) -> Readdressed:
    """Find the circuit of a specification, which is about another model, in a model.

    A specification with the new addresses is written to the folder for review, unless every node is
    where it was. Raises SpecError for a circuit that the model it is known in cannot have,
    BaselineError where that model is not the one of the recorded baseline, and UsageError where it
    would replace a file that was not written like this.
    """
    if problems := check_circuit(loaded, known_in):
        raise SpecError(*problems)
    if recorded := read_baseline(baseline_path(loaded.path, loaded.spec.circuit)):
        check_origin(loaded, known_in, recorded)
    match = find_again(loaded, model, known_in)
    target = folder / f"{loaded.spec.circuit}.circuit.yaml"
    _refuse_to_replace(target, names)
    spec = readdressed(
        loaded.spec,
        match,
        model=Path(os.path.relpath(model.path.resolve(), folder.resolve())).as_posix(),
        digests={"base": known_in.digest, "candidate": model.digest},
        version=pytest_circuits.__version__,
    )
    found, file = loaded, None
    if match.moved:
        found, file = _written(target, spec, loaded), names.relative(target)
    alike = [abs(value) for value in match.alike.values()]
    mean, least = sum(alike) / len(alike), min(alike)
    return Readdressed(found, match, Matched(file, match.moved, mean, least))


def _refuse_to_replace(target: Path, names: Names) -> None:
    if not target.exists():
        return
    try:
        mine = "matched_with" in load_spec(target).spec.found_by
    except SpecError:
        mine = False
    if not mine:
        raise UsageError(
            f"--circuits-match: {names.shown(target)} was not written by it and stays as it is; "
            "name another folder"
        )


def _written(target: Path, spec: Spec, source: LoadedSpec) -> LoadedSpec:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{target.parent}: cannot be made: {error.strerror}") from None
    write_spec(spec, path=target, header=_HEADER.format(source=source.path.name))
    return load_spec(target)
