"""The JSON Schema of a specification, made from its types, for editors and for messages."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from pytest_circuits.spec.installed import refuse_broken
from pytest_circuits.spec.problems import Loc
from pytest_circuits.spec.types import Claims, Spec

if TYPE_CHECKING:
    from pydantic_core import core_schema

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Schema(GenerateJsonSchema):
    """Pydantic's schema without `null`: a key that has no value is a mistake, not a choice."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        inner = super().default_schema(schema)
        if "default" in inner and inner["default"] is None:
            del inner["default"]
        return inner


@dataclass(frozen=True, slots=True)
class Schema:
    """The JSON Schema of a pydantic type, to look up what a place of a file may hold."""

    root: dict[str, Any]

    def at(self, loc: Loc) -> dict[str, Any]:
        """Return the part that describes a place of a file, empty where nothing does."""
        part = self._resolved(self.root)
        for step in loc:
            part = self._resolved(self._child(part, step))
        return part

    def keys_at(self, loc: Loc) -> list[str]:
        """Return the keys that a mapping at this place may have, where they are fixed."""
        part = self.at(loc)
        kinds = [self._resolved(kind) for kind in part.get("oneOf", ())] or [part]
        return [key for kind in kinds for key in kind.get("properties", {})]

    def _child(self, part: dict[str, Any], step: str | int) -> dict[str, Any]:
        for kind in part.get("oneOf", ()):
            if step in self._resolved(kind).get("properties", {}):
                part = self._resolved(kind)
        held = "items" if isinstance(step, int) else "patternProperties"
        part = next((kind for kind in part.get("anyOf", ()) if held in kind), part)
        if isinstance(step, int):
            first = part.get("prefixItems", [])
            found: dict[str, Any] = first[step] if step < len(first) else part.get("items", {})
            return found
        rest = [*part.get("patternProperties", {}).values(), part.get("additionalProperties")]
        named = [part.get("properties", {}).get(step), *rest]
        return next((schema for schema in named if isinstance(schema, dict)), {})

    def _resolved(self, part: dict[str, Any]) -> dict[str, Any]:
        """Return the part with its reference, if it has one, replaced by what it refers to."""
        if "anyOf" in part:
            return {**part, "anyOf": [self._resolved(kind) for kind in part["anyOf"]]}
        if "$ref" not in part:
            return part
        named: dict[str, Any] = self.root["$defs"][part["$ref"].rpartition("/")[2]]
        return named


@cache
def schema_of(kind: type[BaseModel]) -> Schema:
    """Return the schema of a pydantic type, with the keys and without the null of YAML."""
    root = kind.model_json_schema(by_alias=True, schema_generator=_Schema)
    _tidy(root)
    return Schema(root)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a `*.circuit.yaml`."""
    refuse_broken(Claims)
    title = "pytest-circuits specification"
    return {"$schema": _DIALECT, "title": title, **deepcopy(schema_of(Spec).root)}


def _tidy(part: object) -> None:
    """Remove pydantic's titles (Python names), and close mappings whose keys follow a pattern."""
    if isinstance(part, list):
        for item in part:
            _tidy(item)
    elif isinstance(part, dict):
        if isinstance(part.get("title"), str):
            del part["title"]
        if "patternProperties" in part:
            part["additionalProperties"] = False
        for item in part.values():
            _tidy(item)
