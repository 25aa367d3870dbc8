"""Which code is running, told by its text: a change of it need not change its version."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path

_PACKAGE = Path(__file__).parent.parent


@cache
def source_digest(*rooms: str) -> str:
    """sha256 of the names and the text of all modules in some rooms of this package."""
    digest = sha256()
    for path in sorted(path for room in rooms for path in _modules(room)):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(_PACKAGE).as_posix()}|{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def digest_of_file_of(kind: type) -> str:
    """sha256 of the file that a class is defined in, which may be of another distribution."""
    return sha256(Path(inspect.getfile(kind)).read_bytes()).hexdigest()


def _modules(room: str) -> Iterator[Path]:
    place = _PACKAGE / room
    return place.rglob("*.py") if place.is_dir() else iter([place.with_suffix(".py")])
