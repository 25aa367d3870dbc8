"""The documents of every kind of source of text, one at a time."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

from pytest_circuits.train.data.bundled import generated_documents, standard_library
from pytest_circuits.train.data.config import Folder, Generated, JsonLines, Library, Tokens
from pytest_circuits.train.data.folder import files_of, folder_documents
from pytest_circuits.train.data.jsonl import json_documents


def documents(
    source: Library | Generated | Folder | JsonLines, *, base: Path, seed: int
) -> Iterator[str]:
    """Texts that are not empty, always in the same order; files are opened one by one."""
    match source:
        case Library():
            texts = standard_library(modules=source.modules)
        case Generated():
            texts = generated_documents(seed=seed, count=source.documents)
        case Folder():
            texts = folder_documents(base / source.path, source)
        case JsonLines():
            texts = json_documents(base / source.path, field=source.field)
    return filter(None, texts)


def described(source: Library | Generated | Folder | JsonLines | Tokens, *, base: Path) -> str:
    """What a source is, in one phrase for a model card."""
    match source:
        case Library():
            part = f"the first {source.modules:,} modules of " if source.modules else ""
            version = platform.python_version()
            return f"{part}the standard library of Python {version} without its tests"
        case Generated():
            return f"{source.documents:,} documents of generated statements"
        case Folder():
            found = files_of(base / source.path, source.suffixes)
            phrase = f"{len(found.paths):,} files of {source.path} ({', '.join(source.suffixes)})"
            skipped = f", without {found.skipped:,} links and special files"
            return phrase + skipped if found.skipped else phrase
        case JsonLines():
            return f"the field {source.field!r} of {source.path}"
        case _:
            return f"the token ids in {source.path}"
