"""What pydantic finds wrong, said in the words of the specification and at the line where it is."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_circuits.spec.phrases import container_of, expected, name_of
from pytest_circuits.spec.problems import Fault, Loc, listed, quoted, suggest
from pytest_circuits.spec.schema import Schema, schema_of
from pytest_circuits.spec.slots import SLOT_KINDS
from pytest_circuits.spec.tree import Tree, Value
from pytest_circuits.spec.types import Spec, edge_key

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

_MOST = 200  # a file with more mistakes is hostile; explaining each would take its time
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_TWO_ENDS = re.compile(r"\s*([\w.]+)(?:\s*[-=]*[>→:]\s*|\s*,\s*|\s+(?:to\s+)?)([\w.]+)\s*")
_NAME_RULE = "begins with a letter or digit, goes on with letters, digits, '.', '_' or '-'"


@dataclass(frozen=True, slots=True)
class _File:
    tree: Tree
    schema: Schema
    unknown: AbstractSet[Loc]  # the keys that do not exist


def find_nulls(tree: Tree, *, kind: type[BaseModel] = Spec) -> Iterator[Fault]:
    """Give every key or item without a value: nothing in a specification may be null."""
    schema = schema_of(kind)
    stack: list[tuple[Loc, Value]] = [((), tree.value)]
    while stack:
        loc, value = stack.pop()
        if isinstance(value, dict):
            stack.extend(((*loc, key), inner) for key, inner in value.items())
        elif isinstance(value, list):
            stack.extend(((*loc, index), inner) for index, inner in enumerate(value))
        elif value is None and loc not in tree.refused and (part := schema.at(loc)) and loc:
            hint = f"it must be {expected(part)}"
            yield Fault(loc, f"{name_of(loc)} has no value", hint, key=True)


def explain(
    error: ValidationError, tree: Tree, *, echoes: AbstractSet[Loc], kind: type[BaseModel] = Spec
) -> Iterator[Fault]:
    """Give one fault for each mistake but those at or below the echoes: of them enough is said."""
    details = error.errors(include_url=False)[:_MOST]
    unknown = {_loc(detail, tree) for detail in details if detail["type"] in _UNKNOWN}
    file = _File(tree, schema_of(kind), unknown)
    said: set[Loc] = set()
    for detail in details:
        loc, what = _loc(detail, tree), detail["type"]
        place = loc[:-1] if what == "missing" else loc
        if any(place[:end] in echoes for end in range(len(place) + 1)):
            continue
        if what == "value_error":  # the type says itself which of its parts contradict each other
            yield Fault(loc, str(detail["ctx"]["error"]))
            continue
        fault = _fault(loc, what, file)
        if fault and fault.loc not in said:
            said.add(fault.loc)
            yield fault


def _loc(detail: ErrorDetails, tree: Tree) -> Loc:
    """Return where in the file an error is: pydantic adds names of kinds and of Python types."""
    loc = tuple(detail["loc"])
    if loc[:1] == ("ablation",) and loc[1:] and not isinstance(_value_at(tree, loc[:1]), list):
        return loc[:1]  # one, which is read as a list of one
    if loc[:2] == ("behavior", "prompt") and loc[2:]:
        return _place_of_template(loc, _value_at(tree, loc[:2]))
    if loc[:2] == ("behavior", "slots") and len(loc) > 3 and loc[3] in SLOT_KINDS:
        loc = (*loc[:3], *loc[4:])
    if loc[:1] == ("sites",) and loc[1:]:
        loc = (*loc[:1], *loc[2:])  # of a list or of a mapping
    if loc[:1] == ("found_by",):
        return loc[:2]
    return loc[:-1] if loc[-1:] == ("[key]",) else loc


def _place_of_template(loc: Loc, value: Value) -> Loc:
    """Return where a template stands: they are read as if each had a name."""
    if isinstance(value, list):
        return (*loc[:2], *(int(number) - 1 for number in loc[2:3]))
    return loc[:3] if isinstance(value, dict) else loc[:2]


def _fault(loc: Loc, kind: str, file: _File) -> Fault | None:
    if kind in _UNKNOWN:
        return _unknown_key(loc, file)
    if kind == "missing" and isinstance(loc[-1], str):
        return _missing_key(loc, file)
    if kind == "missing":
        loc = loc[:-1]  # an item of a list of fixed length
    value = _value_at(file.tree, loc)
    if kind == "string_pattern_mismatch":
        return _no_ends(loc) if loc[0] == "edges" else _no_name(loc, value)
    if kind == "union_tag_not_found" and isinstance(value, dict):
        return _unknown_kind(loc, value)
    part = file.schema.at(loc)
    wanted = expected(part)
    if loc == ():
        text = "the file is empty" if value is None else f"the file is {_actual(value, part)}"
        is_spec = "version" in file.schema.keys_at(loc)
        wanted = "a specification" if is_spec else "a configuration"
        begin = "begin it with 'version: 1'" if is_spec else None
        return Fault(loc, f"{text}, not {wanted}", begin)
    if isinstance(value, str | int | float):
        texts = (kind for kind in part.get("anyOf", ()) if kind.get("type") == "string")
        part = next(texts, part)
    text = f"{name_of(loc)} must be {wanted}, not {_actual(value, part)}"
    return Fault(loc, text, _hint(value, part, file.tree, loc))


def _no_name(loc: Loc, value: Value) -> Fault:
    is_key = isinstance(value, (dict, list)) or loc[:2] == ("behavior", "prompt")
    name = quoted(str(loc[-1] if is_key else value))
    text = f"{name} is not a name: a name {_NAME_RULE}, at most 100 in all"
    return Fault(loc, text, key=is_key)


def _no_ends(loc: Loc) -> Fault:
    """Say how the key of a list of edges is written, with the one that seems to be meant."""
    key = str(loc[-1])
    ends = _TWO_ENDS.fullmatch(key)
    meant = f"did you mean {quoted(edge_key(*ends.groups()))}?" if ends else None
    hint = meant or "as in '0.mlp.act_in -> 0.mlp.post_act'"
    text = f"{quoted(key)} names no edges: their key is 'SOURCE -> TARGET', two hook points"
    return Fault(loc, text, hint, key=True)


def _unknown_key(loc: Loc, file: _File) -> Fault:
    above, key = loc[:-1], str(loc[-1])
    known = file.schema.keys_at(above)
    value = _value_at(file.tree, above)
    if file.schema.at(above).get("oneOf") and isinstance(value, dict) and key in SLOT_KINDS:
        kinds = [kind for kind in SLOT_KINDS if kind in value]
        text = f"{name_of(above)} is {' and '.join(kinds)} at once"
        return Fault(loc, text, "keep one of them", key=True)
    place = f" in {container_of(above)}" if above else ""
    hint = suggest(key, known) or _home_of(key, file.schema) or f"known keys: {listed(known)}"
    return Fault(loc, f"unknown key {quoted(key)}{place}", hint, key=True)


def _unknown_kind(loc: Loc, value: dict[str, Value]) -> Fault:
    hint = next((hint for key in value if (hint := suggest(key, SLOT_KINDS))), None)
    text = f"{name_of(loc)} must be one of {listed(SLOT_KINDS)}"
    found = f", not {listed(map(quoted, list(value)[:3]))}" if value else ""
    return Fault(loc, text + found, hint, key=True)


def _missing_key(loc: Loc, file: _File) -> Fault | None:
    """Give the fault, unless a misspelt key beside it is already said to mean this one."""
    above, key = loc[:-1], str(loc[-1])
    meant = f"did you mean {quoted(key)}?"
    beside = [str(other[-1]) for other in file.unknown if other[:-1] == above]
    if any(suggest(other, file.schema.keys_at(above)) == meant for other in beside):
        return None
    wanted = expected(file.schema.at(loc))
    place = f" in {container_of(above)}" if above else ""
    return Fault(loc, f"{quoted(key)} is missing{place}", f"it must be {wanted}", key=True)


def _home_of(key: str, schema: Schema) -> str | None:
    """Return where a key belongs that is written in the wrong mapping."""
    places: list[Loc] = [(), ("behavior",), ("protocol",), ("claims",)]
    places += [("claims", claim) for claim in schema.keys_at(("claims",))]
    home = next((place for place in places if key in schema.keys_at(place)), None)
    if home is None:
        return None
    return f"it belongs to {name_of(home) if home else 'the top level'}"


def _hint(value: Value, part: dict[str, Any], tree: Tree, loc: Loc) -> str | None:
    if isinstance(value, str) and "enum" in part:
        return suggest(value, part["enum"])
    if _is_free_text(part) and isinstance(value, (int, float)):
        mark = tree.mark(loc)
        written = tree.lines[mark.line][mark.col : mark.col + mark.length]
        return f"write it in quotes: '{written}'"
    if loc == ("version",):
        return "this release reads version 1"
    return None


def _actual(value: Value, part: dict[str, Any]) -> str:
    """Return what a value is, as the end of the sentence `x must be ..., not ...`."""
    kind = part.get("type")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        number = str(value) if len(str(value)) < 25 else f"{value:.3e}"
        number = number if math.isfinite(value) else "infinity"
        return (
            number if kind in ("integer", "number") or "const" in part else f"the number {number}"
        )
    if isinstance(value, str):
        if _is_free_text(part):
            return f"{len(value):,} characters"
        return quoted(value) if "enum" in part else f"the text {quoted(value)}"
    if isinstance(value, list):
        return f"of {len(value)}" if kind == "array" else "a list" if value else "an empty list"
    return f"of {len(value or ())}" if kind == "object" else "a mapping"


def _is_free_text(part: dict[str, Any]) -> bool:
    return part.get("type") == "string" and not {"enum", "format"} & part.keys()


def _value_at(tree: Tree, loc: Loc) -> Value:
    value: Any = tree.value
    for step in loc:
        value = value[step]
    found: Value = value
    return found
