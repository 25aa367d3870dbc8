"""A problem at a place in a file, rendered so that a stranger sees what is wrong and where."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TypeAlias, TypeVar

Loc: TypeAlias = tuple[str | int, ...]  # keys and indexes from the top of a file
Item = TypeVar("Item", str, int, tuple[int, int])

# Control, format (bidi, zero width), surrogate, unassigned, line and paragraph separators.
_UNSAFE = {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}
_SHORT = {"\n": r"\n", "\t": r"\t", "\r": r"\r"}
_WINDOW = 100  # columns of source that are shown around the caret


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a file: line and column count from 1, in characters."""

    path: Path
    line: int
    col: int
    text: str
    hint: str | None = None
    source: str = ""  # the line of the file, without its end
    length: int = 1  # characters that the carets underline

    def __str__(self) -> str:
        hint = f"; {self.hint}" if self.hint else ""
        first = visible(f"{self.path}:{self.line}:{self.col}: {self.text}{hint}")
        if not self.source.strip():
            return first
        return f"{first}\n{_underlined(self.source, self.col - 1, self.length)}"


@dataclass(frozen=True, slots=True)
class Fault:
    """A problem at a place of a specification, before it is known where that place stands."""

    loc: Loc
    text: str
    hint: str | None = None
    key: bool = False  # points at the key, not at the value


def repeated(loc: Loc, items: Sequence[Item], *, what: str) -> Iterator[Fault]:
    """Give a fault for each item of a list that stands in it before."""
    if len(set(items)) == len(items):
        return
    seen: Counter[Item] = Counter()
    for index, item in enumerate(items):
        seen[item] += 1
        if seen[item] > 1:
            name = quoted(item) if isinstance(item, str) else shown(item)
            yield Fault((*loc, index), f"{what} {name} is listed twice", "keep one")


def shown(item: int | tuple[int, int]) -> str:
    """A node or an edge as YAML has it."""
    return str(list(item) if isinstance(item, tuple) else item)


def visible(text: str) -> str:
    r"""Text that a terminal shows as it is: control, bidi and invisible characters as `\x1b`."""
    return text if text.isascii() and text.isprintable() else "".join(map(_visible, text))


def quoted(text: str, *, limit: int = 60) -> str:
    """Visible text in single quotes, cut in the middle when it is longer than `limit`."""
    if len(text) > limit:
        text = f"{text[: limit // 2]}…{text[-limit // 2 :]}"
    return f"'{visible(text)}'"


def suggest(word: str, known: Iterable[str]) -> str | None:
    """Return the hint `did you mean 'x'?` for the known word that is closest, if one is close."""
    folded = {name.casefold(): name for name in known}
    close = get_close_matches(word[:100].casefold(), list(folded), n=1, cutoff=0.6)
    return f"did you mean {quoted(folded[close[0]])}?" if close else None


def listed(names: Iterable[str]) -> str:
    """Names as they stand in a sentence: `a, b, c`."""
    return ", ".join(names)


def _visible(char: str) -> str:
    return char if unicodedata.category(char) not in _UNSAFE else escape(char)


def escape(char: str) -> str:
    r"""A character as YAML and Python write it between double quotes: `\n`, `\x1b`."""
    code = ord(char)
    form = r"\x{:02x}" if code < 0x100 else r"\u{:04x}" if code < 0x10000 else r"\U{:08x}"
    return _SHORT.get(char, form.format(code))


def _underlined(source: str, start: int, length: int) -> str:
    """Return the source line, cut to a window, with carets under `length` characters."""
    length = max(1, min(length, len(source) - start, _WINDOW // 2))
    left = max(0, start + length - _WINDOW * 3 // 4)
    before = ("…" if left else "") + _visible_source(source[left:start])
    marked = _visible_source(source[start : start + length])
    after = _visible_source(source[start + length : left + _WINDOW])
    more = "…" if left + _WINDOW < len(source) else ""
    carets = " " * _columns(before) + "^" * max(1, _columns(marked))
    return f"    {before}{marked}{after}{more}\n    {carets}"


def _visible_source(source: str) -> str:
    """Return a source line as it is shown: a tab as one space, so that carets stay in place."""
    return visible(source.replace("\t", " "))


def _columns(text: str) -> int:
    """Terminal columns that visible text takes: wide characters two, combining ones none."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) > 0 for char in text)
