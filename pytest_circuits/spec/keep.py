"""Keep a prompt that broke a law: under `regressions` of its file, all else of which stays."""

from __future__ import annotations

from pathlib import Path

import yaml

from pytest_circuits.errors import SpecError
from pytest_circuits.spec.load import LoadedSpec, load_spec, parse_spec
from pytest_circuits.spec.problems import quoted
from pytest_circuits.spec.template import fit_prompt
from pytest_circuits.spec.write import save_text
from pytest_circuits.spec.yaml_text import scalar_text

_KEY = "regressions"
_HEAD = f"{_KEY}:  # prompts that once broke a law; always tried first"


def keep_prompt(path: Path, prompt: str) -> bool:
    """Append a prompt to the regressions of a file; False: it is there, and the file is untouched.

    Comments, layout, line ends and a byte order mark stay. SpecError: the file cannot be used or
    written, or the prompt does not fit its template.
    """
    loaded = load_spec(path)
    if fit_prompt(loaded.spec.behavior, prompt) is None:
        text = f"the prompt {quoted(prompt)} does not fit, so that it cannot be kept"
        hint = f"prompts look like {quoted(loaded.spec.behavior.prompt)}"
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
