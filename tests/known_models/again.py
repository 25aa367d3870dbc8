"""The files of a model that was made before, without making it again."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path

_MADE: dict[Hashable, dict[str, bytes]] = {}


def write_again(folder: Path, make: Callable[[Path], None], key: Hashable) -> Path:
    """Write what `make` writes into a folder, which it does once for each key; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if key not in _MADE:
        make(folder)
        _MADE[key] = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name, content in _MADE[key].items():
        (folder / name).write_bytes(content)
    return folder
