"""From a specification to the YAML that a person would have written, and safely to disk.

A prompt that broke a law is put under `regressions` of a file, all else of which stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from pytest_circuits.errors import SpecError
from pytest_circuits.spec.load import LoadedSpec, load_spec, parse_spec
from pytest_circuits.spec.problems import quoted, visible
from pytest_circuits.spec.template import fit_prompt, shape_of
from pytest_circuits.spec.types import Behavior, Spec
from pytest_circuits.spec.yaml_text import flow_list, flow_mapping, indented, scalar_text, wrapped
from pytest_circuits.system.files import write_atomic

_KEY = "regressions"
_HEAD = f"{_KEY}:  # prompts that once broke a law; always tried first"


def dump_spec(spec: Spec, *, header: str = "") -> str:
    """Return YAML without defaults that loads as an equal specification, under a comment."""
    data = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    lines = [f"# {visible(line)}".rstrip() for line in header.splitlines()]
    lines.append(f"version: {spec.version}")
    head = ("circuit", "description", "model")
    lines += [f"{key}: {scalar_text(data[key])}" for key in head if key in data]
    lines += ["behavior:", *indented(_behavior(spec.behavior))]
    several = data["ablation"]
    lines.append(f"ablation: {several if isinstance(several, str) else flow_list(several)}")
    lines += _sites(data.get("sites", []))
    if data.get("nodes"):
        lines += ["nodes:", *indented(_lists(data["nodes"]))]
    if spec.edges:
        lines += ["edges:", *indented(_lists(data["edges"]))]
    elif spec.edges is not None:
        lines.append("edges: {}")
    if data.get("calibration"):
        lines.append(f"calibration: {flow_mapping(data['calibration'])}")
    width = max(map(len, data["claims"]), default=0) + 1
    claims = (f"  {name + ':':{width}} {flow_mapping(it)}" for name, it in data["claims"].items())
    lines += ["claims:", *claims]
    lines += _reasons(spec)
    if data.get("protocol"):
        lines.append(f"protocol: {flow_mapping(data['protocol'])}")
    if data.get("disambiguate"):
        lines.append("disambiguate:  # prompts on which rules that fit the behavior disagree")
        lines += [f"  - {flow_mapping(item)}" for item in data["disambiguate"]]
    if data.get("regressions"):
        lines += [_HEAD, *(f"  - {scalar_text(text)}" for text in data["regressions"])]
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
    yield from _templates(behavior.model_dump(by_alias=True)["prompt"])
    if behavior.slots:
        yield "slots:"
        for name, slot in behavior.slots.items():
            yield from indented(slot.lines(scalar_text(name)))
    ((cue, answers),) = behavior.contrast.items()
    yield "contrast:"
    foil = "the other cue's answer is the foil" if len(answers) == 2 else "other answers are foils"
    yield f"  {scalar_text(cue)}:  # cue: answer; {foil}"
    yield from (f"    {scalar_text(text)}: {scalar_text(answers[text])}" for text in answers)


def _templates(written: str | list[str] | dict[str, str]) -> Iterator[str]:
    if isinstance(written, str):
        yield f"prompt: {scalar_text(written)}"
        return
    yield "prompt:  # the same in other words: rates are decided for each, and the worst counts"
    if isinstance(written, list):
        yield from (f"  - {scalar_text(text)}" for text in written)
    else:
        yield from (f"  {scalar_text(name)}: {scalar_text(written[name])}" for name in written)


def _sites(sites: list[str] | dict[str, Any]) -> list[str]:
    if isinstance(sites, dict):
        return ["sites:", *(f"  {point}: {flow_mapping(at)}" for point, at in sites.items())]
    return [f"sites: {flow_list(sites)}"] if sites else []


def _lists(parts: Mapping[str, list[Any]]) -> Iterator[str]:
    """Give the lines of lists of whole numbers, or of pairs of them."""
    for key, items in parts.items():
        yield from wrapped(f"{scalar_text(key)}: [", map(str, items), "]", indent=2)


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
            yield from indented(_lists(value))
        else:
            yield f"{scalar_text(key)}: {scalar_text(value)}"


def keep_prompt(path: Path, prompt: str) -> bool:
    """Append a prompt to the regressions of a file; False: it is there, and the file is untouched.

    Comments, layout, line ends and a byte order mark stay. SpecError: the file cannot be used or
    written, or the prompt does not fit its template.
    """
    loaded = load_spec(path)
    if fit_prompt(loaded.spec.behavior, prompt) is None:
        text = f"the prompt {quoted(prompt)} does not fit, so that it cannot be kept"
        hint = f"prompts look like {shape_of(loaded.spec.behavior)}"
        raise SpecError(loaded.problem_at(("behavior", "prompt"), text, hint))
    if prompt in loaded.spec.regressions:
        return False
    before = path.read_bytes().decode()
    after = _appended(before, scalar_text(prompt))
    _check_kept(after, prompt, loaded)
    save_text(path, after)
    return True


def _check_kept(text: str, prompt: str, loaded: LoadedSpec) -> None:
    """Make sure that the new text says what the old one did, and the prompt."""
    kept = (*loaded.spec.regressions, prompt)
    said, why = None, ""
    try:
        said = parse_spec(text.removeprefix("\ufeff"), path=loaded.path).spec.model_dump()
    except SpecError as error:
        why = f": {error}"
    if said != {**loaded.spec.model_dump(), _KEY: kept}:
        problem = f"the prompt cannot be put under {_KEY} by a command here{why}"
        hint = f"write it yourself: {scalar_text(prompt)}"
        raise SpecError(loaded.problem_at((_KEY,), problem, hint, key=True))


def _appended(text: str, item: str) -> str:
    """Return the text of a file with one more regression, as the list is written there."""
    newline = "\r\n" if "\r\n" in text else "\n"
    listed = _listed(text)
    if listed is None:
        return f"{text}{newline * _lacks_newline(text)}{_HEAD}{newline}  - {item}{newline}"
    end = listed.value[-1].end_mark if listed.value else None
    if end is None:
        at = listed.start_mark.index + len("[")
        return f"{text[:at]}{item}{text[at:]}"
    if listed.flow_style:
        return f"{text[: end.index]}, {item}{text[end.index :]}"
    at = end.index if end.column == 0 else text.find("\n", end.index) + 1 or len(text)
    dashed = f"{' ' * listed.start_mark.column}- {item}{newline}"
    return f"{text[:at]}{newline * _lacks_newline(text[:at])}{dashed}{text[at:]}"


def _lacks_newline(text: str) -> bool:
    return not text.endswith("\n")


def _listed(text: str) -> yaml.SequenceNode | None:
    """Return the list of regressions; the text is known to load, and so to nest not too deep."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)  # noqa: S101  (for the type checker)
    return next((value for key, value in root.value if key.value == _KEY), None)
