"""How messages call the places of a specification, and what those places accept."""

from __future__ import annotations

from typing import Any

from pytest_circuits.spec.problems import Loc, listed, quoted
from pytest_circuits.spec.slots import SLOT_KINDS

_COUNTS = {1: "one", 2: "two"}
_ANY = None  # in a pattern: any key or index
_NAMES: tuple[tuple[tuple[str | None, ...], str], ...] = (
    (("behavior", "prompt", _ANY), "template {0}"),
    (("behavior", "slots", _ANY), "slot {0}"),
    (("behavior", "contrast", _ANY), "the contrast of cue {0}"),
    (("behavior", "contrast", _ANY, _ANY), "the answer for cue {1}"),
    (("behavior", _ANY), "{0}"),
    (("claims", _ANY), "claim {0}"),
    (("undeclared", _ANY), "the reason for {0} of undeclared"),
    (("waivers", _ANY), "the waiver of {0}"),
    (("nodes", _ANY), "hook point {0}"),
    (("nodes", _ANY, _ANY), "node {1} of hook point {0}"),
    (("edges", _ANY), "{0} of edges"),
    (("edges", _ANY, _ANY), "edge {1} of {0}"),
    (("disambiguate", _ANY), "prompt {0} of disambiguate"),
    (("disambiguate", _ANY, _ANY), "{1} of prompt {0} of disambiguate"),
    (("regressions", _ANY), "regression {0}"),
    ((_ANY,), "{0}"),
)


def name_of(loc: Loc) -> str:
    """Return how a sentence calls a place of a specification, such as `slot 'name'`."""
    for pattern, name in _NAMES:
        if len(pattern) == len(loc) and all(
            wanted in (_ANY, step) for wanted, step in zip(pattern, loc, strict=True)
        ):
            free = [step for wanted, step in zip(pattern, loc, strict=True) if wanted is _ANY]
            return name.format(*map(_step, free))
    if not loc:
        return "the specification"
    item = "item " if isinstance(loc[-1], int) else ""
    return f"{item}{_step(loc[-1])} of {container_of(loc[:-1])}"


def container_of(loc: Loc) -> str:
    """Return how a sentence calls what a key or an item stands in."""
    return str(loc[-1]) if len(loc) == 1 else name_of(loc)


def expected(part: dict[str, Any]) -> str:
    """Return what a part of the JSON Schema accepts, as the end of the sentence `x must be ...`."""
    if "const" in part:
        return str(part["const"])
    if "enum" in part:
        return f"one of {listed(part['enum'])}"
    if "oneOf" in part:
        return f"one of {listed(SLOT_KINDS)}"
    if "anyOf" in part:
        either = dict.fromkeys(map(expected, part["anyOf"]))
        return " or ".join(kind for kind in either if kind != "a whole number")
    kinds = {
        "string": _expected_text,
        "integer": lambda part: f"a whole number{_bounds(part)}",
        "number": lambda part: f"a number{_bounds(part)}",
        "boolean": lambda _: "true or false",
        "array": _expected_list,
        "object": _expected_mapping,
    }
    kind = kinds.get(part.get("type", ""))
    return kind(part) if kind else "something else"


def _step(step: str | int) -> str:
    return quoted(step) if isinstance(step, str) else str(step + 1)


def _expected_text(part: dict[str, Any]) -> str:
    if "pattern" in part:
        return "a name"
    if part.get("format") == "date":
        return "a day, as in 2026-12-31"
    if part.get("minLength") and part.get("maxLength"):
        return f"a text of {part['minLength']} to {part['maxLength']:,} characters"
    return (
        f"a text of at most {part['maxLength']:,} characters" if "maxLength" in part else "a text"
    )


def _expected_list(part: dict[str, Any]) -> str:
    if "prefixItems" in part:
        names = [item.get("description", "") for item in part["prefixItems"]]
        shown = names if all(names) else ["least", "most"]
        what = "texts" if part["prefixItems"][0].get("type") == "string" else "whole numbers"
        return f"a list of two {what}, [{listed(shown)}]"
    if "$ref" in part["items"]:
        return "a list of such"
    kinds = {"string": "texts", "array": "pairs", "object": "mappings"}
    what = kinds.get(part["items"].get("type"), "whole numbers")
    if part.get("minItems"):
        return f"a list of {part['minItems']} to {part['maxItems']:,} {what}"
    return (
        f"a list of at most {part['maxItems']:,} {what}"
        if "maxItems" in part
        else f"a list of {what}"
    )


def _expected_mapping(part: dict[str, Any]) -> str:
    least, most = part.get("minProperties"), part.get("maxProperties")
    if least and least == most:
        return f"a mapping of exactly {_COUNTS[least]} key{'s' * (least > 1)}"
    if least and most:
        return f"a mapping of {least} to {most} keys"
    if "properties" in part:
        keys = list(part["properties"])
        return f"a mapping with the key{'s' * (len(keys) > 1)} {listed(keys)}"
    return f"a mapping of at most {most} keys" if most else "a mapping"


def _bounds(part: dict[str, Any]) -> str:
    if "minimum" in part and "maximum" in part:
        return f" from {part['minimum']} to {part['maximum']:,}"
    words = {
        "exclusiveMinimum": "above",
        "minimum": "of at least",
        "exclusiveMaximum": "below",
        "maximum": "at most",
    }
    said = " and ".join(f"{word} {part[key]}" for key, word in words.items() if key in part)
    return f" {said}" if said else ""
