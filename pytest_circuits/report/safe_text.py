"""Text from files and models, made safe to print."""

from __future__ import annotations

import math
import re
import textwrap

from pytest_circuits.spec.problems import visible

_COMMAND = re.compile(r"^(\s*)([:#])(?=:|#\[)")


def clean(text: str) -> str:
    """Return one line in which control, bidirectional and invisible characters are spelt out."""
    return visible(" ".join(text.split()))


def clean_block(text: str) -> str:
    """Return the same lines with control and invisible characters spelt out; indents stay."""
    return "\n".join(inert(visible(line)) for line in text.expandtabs(4).split("\n"))


def inert(line: str) -> str:
    """Return a line that no CI system takes for a command: `::` at its start is one to GitHub."""
    return _COMMAND.sub(lambda found: f"{found[1]}\\x{ord(found[2]):02x}", line)


def wrapped(text: str, width: int, *, indent: int = 0) -> list[str]:
    """Return a text as lines of at most that many columns; numbers keep their percent sign."""
    margin = " " * indent
    lines = textwrap.wrap(
        clean(text).replace(" %", "\xa0%"),
        max(width, 40),
        initial_indent=margin,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [inert(line.replace("\xa0", " ")) for line in lines]


def quoted(text: str) -> str:
    """Return text as a literal that shows every character, so that it can be copied exactly."""
    return repr(text)


def number(value: float | None, spec: str) -> str:
    """Return a number as `format(value, spec)`, or a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "-"
    return format(value, spec)
