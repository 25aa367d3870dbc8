"""Which code is running, told by its text: a change of it need not change its version."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path

_PACKAGE = Path(__file__).parent.parent


@cache
def source_digest() -> str:
    """sha256 of the names and the text of all modules of this package."""
    digest = sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(_PACKAGE).as_posix()}|{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()
