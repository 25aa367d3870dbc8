"""From a file to a specification that is known to make sense, or to all of its problems at once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pytest_circuits.errors import SpecError
from pytest_circuits.spec.bounded_yaml import parse_yaml, read_yaml
from pytest_circuits.spec.check import check_spec
from pytest_circuits.spec.explain import explain, find_nulls
from pytest_circuits.spec.installed import refuse_broken
from pytest_circuits.spec.places import role_of
from pytest_circuits.spec.problems import Fault, Loc, Problem
from pytest_circuits.spec.tree import Tree, Value
from pytest_circuits.spec.types import Claims, Spec

T = TypeVar("T", bound=BaseModel)

# What decides the evidence. A description, or where the model lies, does not.
_DECISIVE = (
    *("version", "circuit", "behavior", "ablations", "nodes", "edges", "calibration"),
    *("protocol", "disambiguate", "sites"),
)
# What random choices are about: see `spec_seed`.
_DRAWN_FROM = ("behavior", "nodes", "edges")
# Stands in for the parts of a broken file, so that its other parts are checked all the same.
_STAND_IN: dict[str, Any] = {
    "version": 1,
    "circuit": "x",
    "model": "x",
    "behavior": {"prompt": "{x}", "contrast": {"x": {"a": "b", "c": "d"}}},
    "ablation": "mean",
    "claims": {"behaves": {"rate": 0.5}},
}
_KEYS = {field.alias or name for name, field in Spec.model_fields.items()}
_NEEDS: dict[str | int, str] = {
    "regressions": "behavior",
    "edges": "nodes",
    "claims": "behavior",
    "undeclared": "claims",
    "waivers": "claims",
}  # a part that is checked against another part


@dataclass(frozen=True, slots=True)
class LoadedSpec:
    """A specification, the file that it came from and the place there of each of its parts."""

    spec: Spec
    path: Path
    digest: str  # of all that decides the evidence, see `spec_digest`
    seed: int  # of every random choice, see `spec_seed`
    tree: Tree = field(repr=False, compare=False)

    @property
    def model_path(self) -> Path:
        """The model's directory, absolute: the file gives it relative to the file's folder."""
        return Path(os.path.realpath(self.path.parent / self.spec.model))  # bears a loop of links

    def problem_at(
        self, loc: Loc, text: str, hint: str | None = None, *, key: bool = False
    ) -> Problem:
        """Return a problem that points into the file, at the key or at its value.

        loc: keys and indexes from the top, such as `("nodes", "0.mlp.post_act", 1)`; where there
            is no such place, the nearest one above it is taken.
        text: what is wrong, without a full stop.
        """
        return self.tree.problem(Fault(loc, text, hint, key))


def load_spec(path: Path) -> LoadedSpec:
    """Load a `*.circuit.yaml`; SpecError holds every problem of the file, in its order."""
    return _load(read_yaml(path))


def parse_spec(text: str, *, path: Path) -> LoadedSpec:
    """Load a specification from its text, as `load_spec`; `path` is where it lies or will lie."""
    return _load(parse_yaml(text, path=path))


def spec_digest(spec: Spec) -> str:
    """Return the SHA-256, in hexadecimal, of all that decides the evidence about a circuit.

    Whatever leaves the evidence as it is leaves the digest as it is: comments, the order of keys
    and of nodes and edges, the description, the claims' thresholds, the regressions, the model's
    path. A specification without a newer key (edges, calibration, disambiguate) has the digest that
    it had before there was any.
    """
    decisive = _ordered(spec, _DECISIVE)
    if isinstance(spec.sites, tuple):
        decisive["sites"] = sorted(spec.sites)
    for newer in ("disambiguate", "calibration", "sites"):
        if not decisive[newer]:
            del decisive[newer]
    return _digest(decisive)


def spec_seed(spec: Spec) -> int:
    """Return the seed of every random choice about a circuit.

    It comes from the behavior and the circuit alone. With a name, a limit or a protocol in it,
    whoever does not like the prompts that were drawn could draw again by changing a word, or a
    limit by a millionth; and a limit that is changed would ask for other prompts than the baseline
    holds.
    """
    return int(_digest(_ordered(spec, _DRAWN_FROM))[:15], 16)


def _ordered(spec: Spec, keys: Iterable[str]) -> dict[str, Any]:
    """These parts of a specification as JSON has them, whatever the order of nodes and edges."""
    found: dict[str, Any] = spec.model_dump(mode="json", by_alias=True, include=set(keys))
    found["nodes"] = {hook: sorted(indexes) for hook, indexes in found["nodes"].items()}
    listed = found.pop("edges")
    if listed is not None:
        found["edges"] = {key: sorted(pairs) for key, pairs in listed.items()}
    return found


def _digest(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256(text.encode()).hexdigest()


def read_as(path: Path, kind: type[T]) -> T:
    """Return what a YAML file holds, as a strict pydantic type, or raise as `load_spec`."""
    tree = read_yaml(path)
    value, found = _typed(tree, kind)
    if value is None or found or tree.problems:
        raise _refusal(tree, found)
    return value


def _typed(tree: Tree, kind: type[T]) -> tuple[T | None, list[Fault]]:
    """Return the value of a tree, if its types are right, and what is wrong with it where."""
    if not tree.complete:
        raise _refusal(tree)
    found = list(find_nulls(tree, kind=kind))
    try:
        return _validated(tree.value, kind), found
    except ValidationError as error:
        echoes = tree.refused | {fault.loc for fault in found}
        return None, [*found, *explain(error, tree, echoes=echoes, kind=kind)]


def _validated(value: Value, kind: type[T]) -> T:
    """Return plain values as a strict type, by the keys of its YAML; or pydantic's error.

    Strict types accept a list for a tuple, and a text for an enum, only when they read JSON.
    """
    return kind.model_validate_json(json.dumps(value), by_alias=True, by_name=False)


def _refusal(tree: Tree, faults: Iterable[Fault] = ()) -> SpecError:
    """Return the error that lists all problems in the order of the file."""
    problems = [*tree.problems, *map(tree.problem, faults)]
    return SpecError(*sorted(problems, key=lambda problem: (problem.line, problem.col)))


def _load(tree: Tree) -> LoadedSpec:
    refuse_broken(Claims)
    spec, found = _typed(tree, Spec)
    places = (*tree.refused, *(fault.loc for fault in found))
    broken = {loc[0] if loc else None for loc in places}
    for fault in check_spec(spec or _mended(tree.value, broken)):
        if not {None, fault.loc[0], _needed(fault.loc)} & broken:
            found.append(fault)
    if spec is None or found or tree.problems:
        raise _refusal(tree, found)
    return LoadedSpec(spec, tree.path, spec_digest(spec), spec_seed(spec), tree)


def _needed(loc: Loc) -> str | None:
    """The part of a file without which nothing can be said of what is within another."""
    part, *deeper = loc
    of_prompts = part == "nodes" and deeper and role_of(str(deeper[0]))
    if of_prompts or (part == "disambiguate" and deeper[1:] == ["prompt"]):
        return "behavior"
    return _NEEDS.get(part) if deeper else None


def _mended(value: Value, broken: set[str | int | None]) -> Spec:
    """Return the specification with broken parts replaced, so that the others can be checked."""
    if not isinstance(value, dict) or None in broken:
        return _validated(_STAND_IN, Spec)
    sound = {key: part for key, part in value.items() if key in _KEYS and key not in broken}
    return _validated({**_STAND_IN, **sound}, Spec)
