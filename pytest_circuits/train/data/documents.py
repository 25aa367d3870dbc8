"""The documents of a source of text, one at a time, always in the same order."""

from __future__ import annotations

import codecs
import json
import os
import platform
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NoReturn

from pytest_circuits.errors import UsageError
from pytest_circuits.spec.problems import listed, quoted, suggest
from pytest_circuits.system.files import open_regular
from pytest_circuits.train.data.config import Folder, JsonLines, Library, Tokens

MAX_DOCUMENT = 64 * 2**20  # bytes; a document is held in memory while it is encoded
_CHUNK = 2**20  # bytes read at once
_KINDS = {dict: "an object", list: "a list", str: "a text", bool: "a truth value"}
_LEFT_OUT = frozenset({"site-packages", "test", "tests", "idlelib", "lib2to3", "__pycache__"})


def documents(source: Library | Folder | JsonLines, *, base: Path) -> Iterator[str]:
    """Texts that are not empty; files are opened one by one."""
    texts: Iterable[str]
    match source:
        case Library():
            texts = standard_library(modules=source.modules)
        case Folder():
            listing = files_of(base / source.path, source.suffixes)
            texts = chain.from_iterable(_parts(path, source) for path in listing.paths)
        case JsonLines():
            texts = json_documents(base / source.path, field=source.field)
    return filter(None, texts)


def described(source: Library | Folder | JsonLines | Tokens, *, base: Path) -> str:
    """What a source is, in one phrase for a model card."""
    match source:
        case Library():
            part = f"the first {source.modules:,} modules of " if source.modules else ""
            version = platform.python_version()
            return f"{part}the standard library of Python {version} without its tests"
        case Folder():
            found = files_of(base / source.path, source.suffixes)
            phrase = f"{len(found.paths):,} files of {source.path} ({', '.join(source.suffixes)})"
            skipped = f", without {found.skipped:,} links and special files"
            return phrase + skipped if found.skipped else phrase
        case JsonLines():
            return f"the field {source.field!r} of {source.path}"
        case _:
            return f"the token ids in {source.path}"


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


def _refuse(cause: OSError) -> NoReturn:
    raise UsageError(f"{cause.filename}: cannot be listed: {cause.strerror}") from cause


def _parts(path: Path, source: Folder) -> Iterator[str]:
    """The text of a file, or the parts between its separators."""
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
    with os.fdopen(open_regular(path, error=UsageError, follow=False), "rb") as file:
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


def json_documents(path: Path, *, field: str) -> Iterator[str]:
    """The text in the field of every line's object; lines of white space are passed over."""
    with os.fdopen(open_regular(path, error=UsageError), "rb") as file:
        number = 0
        while line := file.readline(MAX_DOCUMENT + 1):
            number += 1
            if len(line) > MAX_DOCUMENT:
                why = f"longer than {MAX_DOCUMENT // 2**20} MiB; split the document"
                raise UsageError(f"{path}:{number}: {why}")
            if line.strip():
                yield _text(line, field, place=f"{path}:{number}")


def _text(line: bytes, field: str, *, place: str) -> str:
    found = _parsed(line, place)
    if not isinstance(found, dict):
        wanted = f"an object with the field {quoted(field)}"
        raise UsageError(f"{place}: {_kind(found)}, not {wanted}; a line holds one JSON object")
    if field not in found:
        hint = suggest(field, found) or f"its fields are {listed(map(quoted, list(found)[:10]))}"
        raise UsageError(
            f"{place}: the object has no field {quoted(field)}; {hint} "
            "(the source's 'field' names the one that holds the text)"
        )
    text = found[field]
    if not isinstance(text, str):
        raise UsageError(f"{place}: the field {quoted(field)} is {_kind(text)}, not a text")
    try:
        text.encode()
    except UnicodeEncodeError as cause:
        raise UsageError(
            f"{place}: the field {quoted(field)} holds half of a character (an unpaired surrogate "
            "escape), which no UTF-8 text can; write the whole character"
        ) from cause
    return text


def _parsed(line: bytes, place: str) -> object:
    try:
        found: object = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as cause:
        raise UsageError(f"{place}: not UTF-8 ({cause.reason}); convert the file") from cause
    except (ValueError, RecursionError) as cause:
        raise UsageError(f"{place}: not JSON ({cause}); a line holds one JSON object") from cause
    return found


def _kind(value: object) -> str:
    return "null" if value is None else _KINDS.get(type(value), "a number")
