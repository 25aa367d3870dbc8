"""The YAML at the top of a Hugging Face model card, changed in the lines that are ours alone.

Lines are put in and taken out as text, so that all else keeps its bytes: comments, order, quotes.
What comes of it is read again, and where it does not say what it was meant to say, nothing is done.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pytest_circuits.errors import UsageError
from pytest_circuits.report.run import Json
from pytest_circuits.spec.bounded_yaml import parse_yaml
from pytest_circuits.spec.tree import Tree
from pytest_circuits.spec.yaml_text import block_list, indented

KEY = "model-index"
SOURCE = "pytest-circuits"  # the name of the source of our results, by which they are known again
_BLOCK = re.compile(r"\A(\s*---\r?\n)(.*?)(^---[ \t]*(?:\r?\n|\Z))", re.DOTALL | re.MULTILINE)
_IN_THE_WAY = (
    "its front matter cannot be changed in place; write it in block style, and a model-index in it "
    "as a list of models, each with a name and a list of results"
)


def with_results(card: str, *, model: str, results: Sequence[Json], path: Path) -> str:
    """The card with these results in its `model-index`, in place of those of an earlier run.

    Raises UsageError, which names `path`, where the front matter cannot be read or changed.
    """
    found = _BLOCK.match(card)
    end = line_end(card)
    opening, matter, closing = found.groups() if found else (f"---{end}", "", f"---{end}")
    rest = card[found.end() :] if found else card
    tree = _read(matter, path)
    said = {} if tree.value is None else tree.value
    if not isinstance(said, dict):
        raise UsageError(f"{path}: its front matter is not a mapping")
    if KEY in said:
        changed = _changed(matter, tree, said, results, path)
    else:
        index = [{"name": model, "results": list(results)}]
        changed = f"{matter}{KEY}:{end}" + end.join(block_list(index)) + end
        _check(changed, {**said, KEY: index}, path)
    return opening + changed + closing + rest


def line_end(card: str) -> str:
    """How the first line of a card ends, and so ours."""
    found = re.search(r"\r?\n", card)
    return found[0] if found else "\n"


def _read(matter: str, path: Path) -> Tree:
    tree = parse_yaml(matter, path=path)
    if tree.problems:
        problem = tree.problems[0]
        raise UsageError(f"{path}: line {problem.line} of its front matter: {problem.text}")
    return tree


def _changed(matter: str, tree: Tree, said: Json, results: Sequence[Json], path: Path) -> str:
    """The front matter with our results in the model that has some, else in the first."""
    models = said[KEY]
    if not _is_index(models):
        raise UsageError(f"{path}: {_IN_THE_WAY}")
    chosen = next((i for i, m in enumerate(models) if any(map(_is_ours, m["results"]))), 0)
    before = models[chosen]["results"]
    ours = [place for place, result in enumerate(before) if _is_ours(result)]
    at = ours[0] if ours else len(before)
    kept = [result for result in before if not _is_ours(result)]
    models[chosen]["results"] = [*kept[:at], *results, *kept[at:]]
    starts = [tree.values[KEY, chosen, "results", place].line for place in range(len(before))]
    changed = _spliced(matter.split("\n"), starts, ours, results, path)
    _check(changed, said, path)
    return changed


def _spliced(
    lines: list[str], starts: list[int], ours: list[int], results: Sequence[Json], path: Path
) -> str:
    """Lines with the items at `ours` taken out and the results put in where they were, or last."""
    first = lines[starts[0]]
    indent = len(first) - len(first.lstrip())
    if not first.lstrip().startswith("- "):
        raise UsageError(f"{path}: {_IN_THE_WAY}")
    ends = [_end(lines, start, indent) for start in starts]
    carriage = "\r" if first.endswith("\r") else ""
    new = [f"{line}{carriage}" for line in indented(block_list(results), by=indent)]
    at = starts[ours[0]] if ours else ends[-1]
    gone = {line for place in ours for line in range(starts[place], ends[place])}
    kept_before = [line for number, line in enumerate(lines[:at]) if number not in gone]
    kept_after = [line for number, line in enumerate(lines[at:], at) if number not in gone]
    return "\n".join([*kept_before, *new, *kept_after])


def _end(lines: list[str], start: int, indent: int) -> int:
    """The line after the last one of an item of a list; blank lines and comments end no item."""
    end = start + 1
    for number in range(start + 1, len(lines)):
        stripped = lines[number].strip()
        if not stripped or stripped.startswith("#"):
            continue
        if len(lines[number]) - len(lines[number].lstrip()) <= indent:
            break
        end = number + 1
    return end


def _check(matter: str, meant: Json, path: Path) -> None:
    tree = parse_yaml(matter, path=path)
    if tree.problems or tree.value != meant:
        raise UsageError(f"{path}: {_IN_THE_WAY}")


def _is_index(models: object) -> bool:
    return (
        isinstance(models, list)
        and bool(models)
        and all(isinstance(m, dict) and isinstance(m.get("results"), list) for m in models)
        and all(m["results"] for m in models)
    )


def _is_ours(result: object) -> bool:
    source = result.get("source") if isinstance(result, dict) else None
    return isinstance(source, dict) and source.get("name") == SOURCE
