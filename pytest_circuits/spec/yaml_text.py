"""Values as YAML that a person would have written and that every reader reads as it was meant.

Keys are written as they are; one that could be read as something else goes through `scalar_text`.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from pytest_circuits.spec.problems import escape
from pytest_circuits.spec.tree import Scalar, plain_value

_WIDTH = 100
_PLAIN = re.compile(r"(?:\.\.?/)*[A-Za-z0-9_](?:[A-Za-z0-9_./-]| (?:-> )?(?=[A-Za-z0-9_]))*")
_YAML_1_1_WORDS = {"y", "n", "yes", "no", "on", "off"}


@dataclass(frozen=True, slots=True)
class Lines:
    """A text of several lines, each of which a block shows as it is."""

    lines: tuple[str, ...]


def scalar_text(value: Scalar) -> str:
    """A text, finite number or truth value, without quotes where YAML 1.1 and 1.2 agree on it."""
    if isinstance(value, float):
        return _float_text(value)
    if not isinstance(value, str):
        return _json(value)
    if _is_plain(value):
        return value
    if '"' in value and "'" not in value and all(map(_is_printable, value)):
        return f"'{value}'"
    return f'"{"".join(map(_escaped, value))}"'


def flow_list(items: Iterable[Scalar]) -> str:
    return f"[{', '.join(map(scalar_text, items))}]"


def flow_mapping(part: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{key}: {_flow(value)}" for key, value in part.items()) + "}"


def wrapped(head: str, items: Iterable[str], tail: str, *, indent: int) -> Iterator[str]:
    """Give the lines of a list between brackets; further lines stand two columns further in.

    head, tail: what stands around the items, with the brackets.
    indent: columns by which the lines will be put further in.
    """
    words = [f"{item}," for item in items]
    words[-1:] = [word.removesuffix(",") + tail for word in words[-1:]] or [tail]
    line = head
    for index, word in enumerate(words):
        space = " " * (index > 0)
        if len(line) + len(space) + len(word) > _WIDTH - indent and index > 0:
            yield line
            line, space = "  ", ""
        line += space + word
    yield line


def indented(lines: Iterable[str], *, by: int = 2) -> Iterator[str]:
    for line in lines:
        yield from (" " * by + part for part in line.split("\n"))


def block_mapping(values: Mapping[str, Any]) -> Iterator[str]:
    """Give a key a line, what is inside further in; scalars are JSON, which is YAML."""
    for key, value in values.items():
        if isinstance(value, Lines) and value.lines:
            yield f"{key}: |"
            yield from indented(value.lines)
        elif isinstance(value, Mapping) and value:
            yield f"{key}:"
            yield from indented(block_mapping(value))
        elif isinstance(value, list) and value:
            yield f"{key}:"
            yield from block_list(value)
        else:
            yield f"{key}: {_json('' if isinstance(value, Lines) else value)}"


def block_list(items: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for item in items:
        first, *more = block_mapping(item)
        yield f"- {first}"
        yield from indented(more)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _flow(value: Any) -> str:  # noqa: ANN401  (whatever a specification holds)
    if isinstance(value, list):
        return flow_list(value)
    return _json(value) if isinstance(value, dict) else scalar_text(value)


def _is_plain(text: str) -> bool:
    """Tell whether YAML 1.1 and 1.2 both read this text without quotes as itself."""
    if not _PLAIN.fullmatch(text) or text.lower() in _YAML_1_1_WORDS:
        return False
    patterns = yaml.SafeLoader.yaml_implicit_resolvers.get(text[0], [])
    return plain_value(text) == text and not any(pattern.match(text) for _, pattern in patterns)


def _float_text(value: float) -> str:
    if not math.isfinite(value):
        raise ValueError(f"{value} cannot be written as YAML")
    text = repr(value)
    # YAML 1.1 reads 1e-05 as a text; with a dot both versions read a number.
    return text.replace("e", ".0e") if "e" in text and "." not in text else text


def _is_printable(char: str) -> bool:
    return char == " " or not unicodedata.category(char).startswith(("C", "Z"))


def _escaped(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    return char if _is_printable(char) else escape(char)
