"""The effective settings of a run, for the top of the output."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pytest_circuits.errors import CircuitsError
from pytest_circuits.gate.loading import Benches
from pytest_circuits.gate.settings import Update
from pytest_circuits.model.protocol import Overlapping
from pytest_circuits.report.run import Tool, versions
from pytest_circuits.report.safe_text import clean
from pytest_circuits.report.words import several
from pytest_circuits.spec.load import load_spec

_SHOWN_VERSIONS = ("torch", "hypothesis", "numpy")


def header_lines(benches: Benches, specs: Sequence[Path]) -> list[str]:
    """What is tested, with what, on what."""
    settings = benches.settings
    rows = {
        "model": _candidate(benches, specs),
        "made of": _made_of(benches, specs),
        "baseline": _baseline(benches, specs),
        "handed over": _handed_over(benches),
        "match": settings.match.given if settings.match else "",
        "device": benches.device_name,
        "threads": _threads(benches),
        "update": ""
        if settings.update is Update.NONE
        else f"{settings.update} baselines are recorded",
        "require": ", ".join(settings.require),
        "selfcheck": several(settings.selfcheck, "seed") if settings.selfcheck else "",
        **{name: benches.names.shown(path) for name, path in settings.outputs.items()},
    }
    width = max(len(name) for name, text in rows.items() if text)
    tested = several(len(specs), "specification")
    title = f"circuits: {tested} in {_folders(benches, specs)}; {_versions()}"
    return [title, *(f"  {name:{width}}  {clean(text)}" for name, text in rows.items() if text)]


def _candidate(benches: Benches, specs: Sequence[Path]) -> str:
    asked = benches.settings.model
    if asked is not None:
        model = benches.model(asked.path)
        return f"{asked.given} ({model.digest[:12]}), from the {asked.source}"
    known = {path: benches.digest_or_nothing(path) for path in _models(specs)}
    named = [f"{benches.names.shown(path)} ({sha[:12]})" for path, sha in known.items() if sha]
    return f"{', '.join(named)}, named by the specs" if named else "named by the specs"


def _made_of(benches: Benches, specs: Sequence[Path]) -> str:
    """What models are that others made, and what their tokenizers put before every text."""
    asked = benches.settings.model
    paths = [asked.path] if asked else _models(specs)
    models = [benches.model(path) for path in paths if benches.digest_or_nothing(path)]
    return "; ".join(model.description for model in models if isinstance(model, Overlapping))


def _handed_over(benches: Benches) -> str:
    """Which models were built by code of the user, and which file it stands in."""
    return ", ".join(
        f"{benches.names.shown(path)} by {file}" for path, file in sorted(benches.handed.items())
    )


def _baseline(benches: Benches, specs: Sequence[Path]) -> str:
    asked, candidate = benches.settings.baseline, benches.settings.model
    if asked is None and not benches.settings.match:
        return "the files beside the specs"
    candidates = [candidate.path] if candidate else _models(specs)
    compared = [asked.path] if asked else _models(specs)
    tested = {benches.digest_or_nothing(path) for path in candidates} - {""}
    itself = tested.intersection(benches.digest_or_nothing(path) for path in compared)
    same = ", the candidate itself" if itself else ""
    if asked is None:
        return f"the models that the specs name{same}"
    return f"{asked.given} ({benches.model(asked.path).digest[:12]}){same}, from the {asked.source}"


def _threads(benches: Benches) -> str:
    """How many the models take that were looked at above."""
    shared = f" in each of {benches.processes} processes" if benches.processes > 1 else ""
    return f"{benches.threads}{shared}"


def _models(specs: Sequence[Path]) -> list[Path]:
    found: dict[Path, None] = {}
    for path in specs:
        try:
            found[load_spec(path).model_path] = None
        except CircuitsError:
            continue  # it is shown when the specification is collected
    return list(found)


def _folders(benches: Benches, specs: Sequence[Path]) -> str:
    folders = list(dict.fromkeys(benches.names.shown(path.parent) for path in specs))
    more = f" and {len(folders) - 2} more folders" if len(folders) > 3 else ""
    return ", ".join(folders[: 2 if more else 3]) + more


def _versions() -> str:
    known = versions()
    named = [f"{name} {known[name]}" for name in _SHOWN_VERSIONS if name in known]
    return ", ".join([str(Tool()), *named])
