"""The effective settings of a run, for the top of the output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pytest_circuits.gate.loading import Asked, Benches, asked_by
from pytest_circuits.gate.settings import Update
from pytest_circuits.model.protocol import Overlapping
from pytest_circuits.report.run import Tool, versions
from pytest_circuits.report.safe_text import clean
from pytest_circuits.report.words import several

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
        digests = _short(benches, asked_by(specs, asked.path))
        return f"{asked.given}{digests}, from the {asked.source}"
    known = {each: benches.digest_or_nothing(*each) for each in asked_by(specs)}
    named = [f"{benches.names.shown(path)} ({sha[:12]})" for (path, _), sha in known.items() if sha]
    return f"{', '.join(named)}, named by the specs" if named else "named by the specs"


def _made_of(benches: Benches, specs: Sequence[Path]) -> str:
    """What models are that others made, and what their tokenizers put before every text."""
    asked = benches.settings.model
    every = asked_by(specs, asked.path if asked else None)
    models = [benches.model(*each) for each in every if benches.digest_or_nothing(*each)]
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
    candidates = asked_by(specs, candidate.path if candidate else None)
    compared = asked_by(specs, asked.path if asked else None)
    tested = {benches.digest_or_nothing(*each) for each in candidates} - {""}
    itself = tested.intersection(benches.digest_or_nothing(*each) for each in compared)
    same = ", the candidate itself" if itself else ""
    if asked is None:
        return f"the models that the specs name{same}"
    return f"{asked.given}{_short(benches, compared)}{same}, from the {asked.source}"


def _short(benches: Benches, every: Iterable[Asked]) -> str:
    """The digests of a directory, one for each way to name its sites."""
    digests = filter(None, (benches.digest_or_nothing(*each) for each in every))
    shown = ", ".join(digest[:12] for digest in digests)
    return f" ({shown})" if shown else ""


def _threads(benches: Benches) -> str:
    """How many the models take that were looked at above."""
    shared = f" in each of {benches.processes} processes" if benches.processes > 1 else ""
    return f"{benches.threads}{shared}"


def _folders(benches: Benches, specs: Sequence[Path]) -> str:
    folders = list(dict.fromkeys(benches.names.shown(path.parent) for path in specs))
    more = f" and {len(folders) - 2} more folders" if len(folders) > 3 else ""
    return ", ".join(folders[: 2 if more else 3]) + more


def _versions() -> str:
    known = versions()
    named = [f"{name} {known[name]}" for name in _SHOWN_VERSIONS if name in known]
    return ", ".join([str(Tool()), *named])
