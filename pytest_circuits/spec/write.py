"""From a specification to the YAML that a person would have written, and safely to disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_circuits.errors import SpecError
from pytest_circuits.spec.load import parse_spec
from pytest_circuits.spec.problems import visible
from pytest_circuits.spec.types import Behavior, Spec
from pytest_circuits.spec.yaml_text import (
    flow_mapping,
    indented,
    scalar_text,
    wrapped,
)
from pytest_circuits.system.files import write_atomic


def dump_spec(spec: Spec, *, header: str = "") -> str:
    """Return commit-ready YAML that loads as an equal specification, under a comment.

    Only what differs from the defaults is written.
    """
    data = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    lines = [f"# {visible(line)}".rstrip() for line in header.splitlines()]
    lines.append(f"version: {spec.version}")
    head = ("circuit", "description", "model")
    lines += [f"{key}: {scalar_text(data[key])}" for key in head if key in data]
    lines += ["behavior:", *indented(_behavior(spec.behavior))]
    lines.append(f"ablation: {spec.ablation.value}")
    if data.get("nodes"):
        lines += ["nodes:", *indented(_nodes(data["nodes"]))]
    if spec.edges:
        lines += ["edges:", *indented(_edges(spec.edges))]
    elif spec.edges is not None:
        lines.append("edges: {}")
    if data.get("calibration"):
        lines.append(f"calibration: {flow_mapping(data['calibration'])}")
    lines += ["claims:", *indented(_flow_mappings(data["claims"]))]
    lines += _reasons(spec)
    if data.get("protocol"):
        lines.append(f"protocol: {flow_mapping(data['protocol'])}")
    if data.get("disambiguate"):
        lines.append("disambiguate:  # prompts on which rules that fit the behavior disagree")
        for item in data["disambiguate"]:
            lines.append(f"  - {flow_mapping(item)}")
    if data.get("regressions"):
        lines.append("regressions:  # prompts that once broke a law; always tried first")
        lines += [f"  - {scalar_text(text)}" for text in data["regressions"]]
    if data.get("found_by"):
        lines += ["found_by:", *indented(_found_by(data["found_by"]))]
    return "\n".join(lines) + "\n"


def write_spec(spec: Spec, *, path: Path, header: str = "") -> None:
    """Write a specification; SpecError where it could not be loaded again, or written."""
    text = dump_spec(spec, header=header)
    parse_spec(text, path=path)
    save_text(path, text)


def save_text(path: Path, text: str) -> None:
    """Write a file so that it is either the old one or the whole new one, or raise SpecError."""
    try:
        write_atomic(path.resolve(), text.encode())
    except OSError as error:
        raise SpecError(f"{path}: cannot be written: {error.strerror}") from None


def _behavior(behavior: Behavior) -> Iterator[str]:
    yield f"prompt: {scalar_text(behavior.prompt)}"
    if behavior.slots:
        yield "slots:"
        for name, slot in behavior.slots.items():
            yield from indented(slot.lines(scalar_text(name)))
    ((cue, answers),) = behavior.contrast.items()
    yield "contrast:"
    yield f"  {scalar_text(cue)}:  # cue: answer; the other cue's answer is the foil"
    yield from (f"    {scalar_text(text)}: {scalar_text(answers[text])}" for text in answers)


def _nodes(nodes: Mapping[str, list[int]]) -> Iterator[str]:
    for hook, indexes in nodes.items():
        yield from wrapped(f"{scalar_text(hook)}: [", map(str, indexes), "]", indent=2)


def _edges(edges: Mapping[str, Sequence[tuple[int, int]]]) -> Iterator[str]:
    for key, pairs in edges.items():
        written = (f"[{source}, {target}]" for source, target in pairs)
        yield from wrapped(f"{scalar_text(key)}: [", written, "]", indent=2)


def _flow_mappings(parts: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    width = max(map(len, parts), default=0) + 1
    for name, part in parts.items():
        yield f"{name + ':':{width}} {flow_mapping(part)}"


def _reasons(spec: Spec) -> Iterator[str]:
    """Give the lines about claims that are not made, and about those that may fail for a while."""
    if undeclared := spec.undeclared.items():
        yield "undeclared:"
        yield from (f"  {name}: {scalar_text(reason)}" for name, reason in undeclared)
    if waivers := spec.waivers.items():
        yield "waivers:"
        for name, waiver in waivers:
            yield f"  {name}: {{until: {waiver.until}, reason: {scalar_text(waiver.reason)}}}"


def _found_by(part: Mapping[str, Any]) -> Iterator[str]:
    for key, value in part.items():
        if isinstance(value, dict):
            yield f"{scalar_text(key)}:"
            yield from indented(_nodes(value))
        else:
            yield f"{scalar_text(key)}: {scalar_text(value)}"
