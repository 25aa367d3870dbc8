"""The specifications that lie on disk, found without pytest, so that none can vanish unnoticed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

SUFFIX = ".circuit.yaml"
_SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "site-packages"})
_ALIKE = 0.8  # "circuits", "ciruit" and "circut" are alike, "circus" and "circular" are not


@dataclass(frozen=True, slots=True)
class Found:
    """Specifications, and files whose names look like a mistyped specification's."""

    specs: tuple[Path, ...] = ()
    misnamed: tuple[Path, ...] = ()


def find_specs(places: Iterable[Path]) -> Found:
    """What lies at and below the places, sorted.

    Hidden folders, installed packages and `__pycache__` are left out. Folders that pytest is told
    to ignore, or takes for virtual environments, are not: a specification that is ignored has to be
    noticed.
    """
    files = {file for place in places for file in _files(place, set())}
    return Found(
        specs=tuple(sorted(file for file in files if is_spec(file))),
        misnamed=tuple(sorted(file for file in files if is_misnamed(file))),
    )


def is_spec(path: Path) -> bool:
    return path.name.endswith(SUFFIX)


def is_misnamed(path: Path) -> bool:
    """Whether a file was probably meant to be a specification: `x.circuits.yaml`."""
    words = _words(path)
    if is_spec(path) or path.suffix.casefold() not in {".yaml", ".yml"} or len(words) < 2:
        return False
    return SequenceMatcher(None, "circuit", words[-1].casefold()).ratio() >= _ALIKE


def right_name(path: Path) -> str:
    """The name that a misnamed specification should have."""
    return path.stem.removesuffix(_words(path)[-1])[:-1] + SUFFIX


def _words(path: Path) -> list[str]:
    return re.split(r"[._ -]", path.stem)


def _files(place: Path, seen: set[Path]) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    real = place.resolve()
    if real in seen or not place.is_dir():
        return
    seen.add(real)
    for entry in sorted(place.iterdir()):
        if not entry.is_dir():
            yield entry
        elif not _is_left_out(entry):
            yield from _files(entry, seen)


def _is_left_out(folder: Path) -> bool:
    return folder.name.startswith(".") or folder.name in _SKIPPED_FOLDERS
