"""Text that is always there: the interpreter's standard library, and generated statements."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pytest_circuits.errors import UsageError
from pytest_circuits.train.lines import generate

_LEFT_OUT = frozenset({"site-packages", "test", "tests", "idlelib", "lib2to3", "__pycache__"})


def standard_library(*, modules: int | None) -> Iterator[str]:
    """Texts of the standard library's modules without their tests, in the order of their paths."""
    root = Path(sysconfig.get_paths()["stdlib"])
    paths = sorted(
        (path.relative_to(root).as_posix(), path)
        for path in root.rglob("*.py")
        if not _LEFT_OUT.intersection(path.relative_to(root).parts)
    )
    if not paths:
        raise UsageError(
            f"no Python files were found in the standard library at {root}; the source 'library' "
            "needs an interpreter whose standard library is installed as files"
        )
    for _, path in paths[:modules]:
        yield path.read_text(encoding="utf-8", errors="ignore")


def generated_documents(*, seed: int, count: int, characters: int = 4000) -> Iterator[str]:
    """Documents of generated lines; document i depends on (seed, i) alone."""
    for index in range(count):
        rng = np.random.Generator(np.random.Philox(key=[seed, index]))
        yield generate(rng, characters=characters)
