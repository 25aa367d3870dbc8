"""From a specification to the YAML that a person would have written, and safely to disk."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from pytest_circuits.errors import SpecError
from pytest_circuits.spec.load import parse_spec
from pytest_circuits.spec.problems import visible
from pytest_circuits.spec.tree import Scalar, plain_value
from pytest_circuits.spec.types import Spec
from pytest_circuits.system.files import write_atomic

_WIDTH = 100
_PLAIN = re.compile(r"(?:\.\.?/)*[A-Za-z0-9_](?:[A-Za-z0-9_./-]| (?:-> )?(?=[A-Za-z0-9_]))*")
_YAML_1_1_WORDS = {"y", "n", "yes", "no", "on", "off"}


def dump_spec(spec: Spec, *, header: str = "") -> str:
    """Return commit-ready YAML that loads as an equal specification.

    Args:
        spec: what to write; of the protocol only what differs from the defaults is written.
        header: becomes comments above the first line.

    """
    data = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    lines = [f"# {visible(line)}".rstrip() for line in header.splitlines()]
    lines.append(f"version: {spec.version}")
    head = ("circuit", "description", "model")
    lines += [f"{key}: {scalar_text(data[key])}" for key in head if key in data]
    lines += ["behavior:", *_indented(_behavior(data["behavior"]))]
    lines.append(f"ablation: {spec.ablation.value}")
    if data.get("nodes"):
        lines += ["nodes:", *_indented(_nodes(data["nodes"]))]
    if spec.edges:
        lines += ["edges:", *_indented(_edges(spec.edges))]
    elif spec.edges is not None:
        lines.append("edges: {}")
    if data.get("calibration"):
        lines.append(f"calibration: {_flow_mapping(data['calibration'])}")
    lines += ["claims:", *_indented(_flow_mappings(data["claims"]))]
    lines += _reasons(spec)
    if data.get("protocol"):
        lines.append(f"protocol: {_flow_mapping(data['protocol'])}")
    if data.get("disambiguate"):
        lines.append("disambiguate:  # prompts on which rules that fit the behavior disagree")
        for item in data["disambiguate"]:
            tokens = ", ".join(map(scalar_text, item["between"]))
            lines.append(f"  - {{prompt: {scalar_text(item['prompt'])}, between: [{tokens}]}}")
    if data.get("regressions"):
        lines.append("regressions:  # prompts that once broke a law; always tried first")
        lines += [f"  - {scalar_text(text)}" for text in data["regressions"]]
    if data.get("found_by"):
        lines += ["found_by:", *_indented(_found_by(data["found_by"]))]
    return "\n".join(lines) + "\n"


def write_spec(spec: Spec, *, path: Path, header: str = "") -> None:
    """Write a specification so that the file is either the old one or the whole new one.

    Raises:
        SpecError: the specification could not be loaded again, or the file not written.

    """
    text = dump_spec(spec, header=header)
    parse_spec(text, path=path)
    try:
        write_atomic(path.resolve(), text.encode())
    except OSError as error:
        raise SpecError(f"{path}: cannot be written: {error.strerror}") from None


def scalar_text(value: Scalar) -> str:
    """Return how YAML writes a text, number or truth value so that every reader agrees on it."""
    if isinstance(value, float):
        return _float_text(value)
    if not isinstance(value, str):
        return json.dumps(value)
    if _is_plain(value):
        return value
    if '"' in value and "'" not in value and all(map(_is_printable, value)):
        return f"'{value}'"
    return f'"{"".join(map(_escaped, value))}"'


def _behavior(behavior: Mapping[str, Any]) -> Iterator[str]:
    yield f"prompt: {scalar_text(behavior['prompt'])}"
    if behavior.get("slots"):
        yield "slots:"
        for name, slot in behavior["slots"].items():
            yield from _indented(_slot(scalar_text(name), slot))
    ((cue, answers),) = behavior["contrast"].items()
    yield "contrast:"
    yield f"  {scalar_text(cue)}:  # cue: answer; the other cue's answer is the foil"
    yield from (f"    {scalar_text(text)}: {scalar_text(answers[text])}" for text in answers)


def _slot(name: str, slot: Mapping[str, Any]) -> Iterator[str]:
    ((kind, value),) = slot.items()
    if kind != "words":
        yield from _wrapped(f"{name}: {{{kind}: [", map(scalar_text, value), "]}", width=_WIDTH - 6)
        return
    yield f"{name}:"
    yield "  words:"
    words = map(scalar_text, value["from"])
    yield from (f"    {line}" for line in _wrapped("from: [", words, "]", width=_WIDTH - 10))
    yield f"    count: [{', '.join(map(str, value['count']))}]"
    if "separator" in value:
        yield f"    separator: {scalar_text(value['separator'])}"


def _nodes(nodes: Mapping[str, list[int]]) -> Iterator[str]:
    for hook, indexes in nodes.items():
        yield from _wrapped(f"{scalar_text(hook)}: [", map(str, indexes), "]", width=_WIDTH - 2)


def _edges(edges: Mapping[str, Sequence[tuple[int, int]]]) -> Iterator[str]:
    for key, pairs in edges.items():
        written = (f"[{source}, {target}]" for source, target in pairs)
        yield from _wrapped(f"{scalar_text(key)}: [", written, "]", width=_WIDTH - 2)


def _wrapped(head: str, items: Iterable[str], tail: str, *, width: int) -> Iterator[str]:
    """Give the lines of a list between brackets; further lines stand two columns further in."""
    words = [f"{item}," for item in items]
    words[-1:] = [word.removesuffix(",") + tail for word in words[-1:]] or [tail]
    line = head
    for index, word in enumerate(words):
        space = " " * (index > 0)
        if len(line) + len(space) + len(word) > width and index > 0:
            yield line
            line, space = "  ", ""
        line += space + word
    yield line


def _flow_mappings(parts: Mapping[str, Mapping[str, Scalar | list[Scalar]]]) -> Iterator[str]:
    width = max(map(len, parts), default=0) + 1
    for name, part in parts.items():
        yield f"{name + ':':{width}} {_flow_mapping(part)}"


def _flow_mapping(part: Mapping[str, Scalar | list[Scalar]]) -> str:
    return "{" + ", ".join(f"{key}: {_flow(value)}" for key, value in part.items()) + "}"


def _flow(value: Scalar | list[Scalar]) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(scalar_text, value)) + "]"
    return scalar_text(value)


def _reasons(spec: Spec) -> Iterator[str]:
    """Give the lines about claims that are not made, and about those that may fail for a while."""
    if undeclared := spec.undeclared.items():
        yield "undeclared:"
        yield from (f"  {name}: {scalar_text(reason)}" for name, reason in undeclared)
    if waivers := spec.waivers.items():
        yield "waivers:"
        for name, waiver in waivers:
            reason = scalar_text(waiver.reason)
            yield f"  {name}: {{until: {waiver.until}, reason: {reason}}}"


def _found_by(part: Mapping[str, Any]) -> Iterator[str]:
    for key, value in part.items():
        if isinstance(value, dict):
            yield f"{scalar_text(key)}:"
            yield from _indented(_nodes(value))
        else:
            yield f"{scalar_text(key)}: {scalar_text(value)}"


def _indented(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield from (f"  {part}" for part in line.split("\n"))


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
    if _is_printable(char):
        return char
    short = {"\n": r"\n", "\t": r"\t", "\r": r"\r"}.get(char)
    code = ord(char)
    form = r"\x{:02x}" if code < 0x100 else r"\u{:04x}" if code < 0x10000 else r"\U{:08x}"
    return short or form.format(code)
