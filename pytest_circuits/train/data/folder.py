"""Documents from a folder of text or code files."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from pytest_circuits.errors import UsageError
from pytest_circuits.train.data.config import Folder
from pytest_circuits.train.data.regular import MAX_DOCUMENT, open_regular

_CHUNK = 2**20  # bytes read at once


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a folder with the wanted suffixes, in the order of their paths."""

    paths: tuple[Path, ...]
    skipped: int  # links and special files with such a suffix, which are never followed or read


def files_of(root: Path, suffixes: tuple[str, ...]) -> Listing:
    """Find regular files below a folder; names that begin with a dot are left out."""
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "is not there"
        raise UsageError(f"{root}: {what}; the path of a folder source is a folder with text files")
    found: list[Path] = []
    skipped = 0
    for place, folders, names in os.walk(root, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(place, name)
            if name.startswith(".") or not name.endswith(suffixes):
                continue
            if path.is_symlink() or not path.is_file():
                skipped += 1
            else:
                found.append(path)
    found.sort(key=lambda path: path.relative_to(root).as_posix())
    return Listing(tuple(found), skipped)


def folder_documents(root: Path, source: Folder) -> Iterator[str]:
    """Texts of the files, or of the parts between the separators in each file."""
    for path in files_of(root, source.suffixes).paths:
        yield from _parts(path, source)


def _refuse(cause: OSError) -> NoReturn:
    raise UsageError(f"{cause.filename}: cannot be listed: {cause.strerror}") from cause


def _parts(path: Path, source: Folder) -> Iterator[str]:
    rest = ""
    for text in _decoded(path, errors=source.errors):
        rest += text
        if source.separator is not None:
            *whole, rest = rest.split(source.separator)
            yield from whole
        if len(rest) > MAX_DOCUMENT:
            raise UsageError(
                f"{path}: holds a document of more than {MAX_DOCUMENT // 2**20} MiB; split the "
                "file, or give the source a 'separator', the text between its documents"
            )
    yield rest


def _decoded(path: Path, *, errors: str) -> Iterator[str]:
    """Pieces of the text of a file, without a byte order mark."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")(errors)
    line = 1
    with open_regular(path, follow=False) as file:
        while True:
            content = file.read(_CHUNK)
            try:
                text = decoder.decode(content, final=not content)
            except UnicodeDecodeError as cause:
                line += cause.object.count(b"\n", 0, cause.start)
                raise UsageError(
                    f"{path}:{line}: not UTF-8 ({cause.reason}); convert the file, leave it out by "
                    "the source's 'suffixes', or set its 'errors: replace' to read such bytes as "
                    "U+FFFD"
                ) from cause
            line += text.count("\n")
            yield text
            if not content:
                return
