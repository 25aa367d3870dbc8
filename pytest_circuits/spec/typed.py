"""A file read as a pydantic type: the value, or every problem in words and at its line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from pytest_circuits.errors import SpecError
from pytest_circuits.spec.bounded_yaml import read_yaml
from pytest_circuits.spec.explain import explain, find_nulls
from pytest_circuits.spec.problems import Loc, Problem
from pytest_circuits.spec.tree import Tree, Value

T = TypeVar("T", bound=BaseModel)


def read_as(path: Path, kind: type[T]) -> T:
    """Return what a YAML file holds, as a strict pydantic type.

    Raises:
        SpecError: with every problem of the file, in its order.

    """
    tree = read_yaml(path)
    if not tree.complete:
        raise refusal(tree.problems)
    value, found = typed(tree, kind)
    if value is None or found or tree.problems:
        raise refusal([*tree.problems, *(problem for _, problem in found)])
    return value


def typed(tree: Tree, kind: type[T]) -> tuple[T | None, list[tuple[Loc, Problem]]]:
    """Return the value of a tree, if its types are right, and what is wrong with it where."""
    found = list(find_nulls(tree, kind=kind))
    try:
        return validated(tree.value, kind), found
    except ValidationError as error:
        echoes = tree.refused | {loc for loc, _ in found}
        return None, [*found, *explain(error, tree, echoes=echoes, kind=kind)]


def validated(value: Value, kind: type[T]) -> T:
    """Return plain values as a strict type, by the keys of its YAML.

    Strict types accept a list for a tuple, and a text for an enum, only when they read JSON.

    Raises:
        ValidationError: the value does not fit the type.

    """
    return kind.model_validate_json(json.dumps(value), by_alias=True, by_name=False)


def refusal(problems: Iterable[Problem]) -> SpecError:
    """Return the error that lists problems in the order of the file."""
    return SpecError(*sorted(problems, key=lambda problem: (problem.line, problem.col)))
