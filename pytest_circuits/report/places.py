"""Paths as the host of a repository knows them: from the top of the repository."""

from __future__ import annotations

import os
from pathlib import Path


def in_repository(name: str, root: Path) -> str:
    """The path of a file, given from the root folder of the tests, from the repository's top.

    Where nothing says which repository it is, the root folder is its top.
    """
    tops = (folder for folder in (root, *root.parents) if (folder / ".git").exists())
    return Path(os.path.relpath(root / name, next(tops, root))).as_posix()
