"""The training text: the interpreter's own standard library, mixed with generated lines."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import numpy as np

from pytest_circuits.errors import UsageError
from pytest_circuits.train.lines import generate

END_OF_TEXT = "<|endoftext|>"
_LEFT_OUT = frozenset({"site-packages", "test", "tests", "idlelib", "lib2to3", "__pycache__"})


def standard_library() -> list[str]:
    """Texts of the standard library's modules without their tests, in the order of their paths."""
    root = Path(sysconfig.get_paths()["stdlib"])
    paths = sorted(
        (path.relative_to(root).as_posix(), path)
        for path in root.rglob("*.py")
        if not _LEFT_OUT.intersection(path.relative_to(root).parts)
    )
    texts = [path.read_text(encoding="utf-8", errors="ignore") for _, path in paths]
    if not texts:
        raise UsageError(
            f"no Python files were found in the standard library at {root}; the trainer needs an "
            "interpreter whose standard library is installed as files"
        )
    return texts


def generated_documents(*, seed: int, count: int, characters: int = 4000) -> list[str]:
    """Documents of generated lines; document i depends on (seed, i) alone."""
    return [
        generate(np.random.Generator(np.random.Philox(key=[seed, index])), characters=characters)
        for index in range(count)
    ]
