"""Documents from a file with one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pytest_circuits.errors import UsageError
from pytest_circuits.spec.problems import listed, quoted, suggest
from pytest_circuits.train.data.regular import MAX_DOCUMENT, open_regular

_KINDS = {dict: "an object", list: "a list", str: "a text", bool: "a truth value"}


def json_documents(path: Path, *, field: str) -> Iterator[str]:
    """The text in the field of every line's object; lines of white space are passed over."""
    with open_regular(path) as file:
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
