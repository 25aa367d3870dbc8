"""The other behaviors that a circuit is held against: specifications that lie beside its own."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_circuits.errors import SpecError
from pytest_circuits.spec.load import LoadedSpec, load_spec
from pytest_circuits.spec.problems import quoted, suggest

SUFFIX = ".circuit.yaml"


def load_others(loaded: LoadedSpec) -> tuple[LoadedSpec, ...]:
    """The specifications that the claim `specific` names, none where it is not declared.

    Raises:
        SpecError: one is not there, cannot be used, is about another model, or is this one itself.

    """
    claim = loaded.spec.claims.specific
    return tuple(
        _load(loaded, place, name) for place, name in enumerate(claim.others if claim else ())
    )


def _load(loaded: LoadedSpec, place: int, name: str) -> LoadedSpec:
    loc = ("claims", "specific", "others", place)
    path = loaded.path.with_name(f"{name}{SUFFIX}")
    if name == loaded.spec.circuit or path == loaded.path:
        text = f"{quoted(name)} is this circuit itself: it is not another behavior"
        raise SpecError(loaded.problem_at(loc, text))
    if not path.is_file():
        text = f"there is no {quoted(path.name)} beside this file"
        beside = _names(other.name for other in loaded.path.parent.glob(f"*{SUFFIX}"))
        raise SpecError(loaded.problem_at(loc, text, suggest(name, beside)))
    other = load_spec(path)
    if other.model_path != loaded.model_path:
        text = f"{quoted(name)} is about another model, {quoted(other.spec.model)}"
        raise SpecError(loaded.problem_at(loc, text, "name behaviors of the same model"))
    return other


def _names(files: Iterable[str]) -> list[str]:
    return sorted(name.removesuffix(SUFFIX) for name in files)
