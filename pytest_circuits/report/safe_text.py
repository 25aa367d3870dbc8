"""Text from files and models, made safe to print, and to stand in Markdown: it is shown as it is.

In Markdown names are code, which no renderer turns into links, mentions or markup; sentences have
every character that could start something written as an HTML entity.
"""

from __future__ import annotations

import math
import re
import textwrap

from pytest_circuits.spec.problems import visible

_COMMAND = re.compile(r"^(\s*)([:#])(?=:|#\[)")
_PLAIN = re.compile(r"[^`|<]+")  # what can stand between backticks, in a table too
_ACTIVE = re.compile(
    r"""
      [^\w\s.,;:()'/=+%-]       # markup, HTML, references
    | (?<![^\W_])_|_(?![^\W_])  # an underscore within a word is none
    | [:%](?=\S)               # :smile:, https://, %milestone; not a colon or percent of a sentence
    | (?<=\bwww)\.
    | ^[+=-] | (?<=^\d)[.)] | (?<=^\d\d)[.)]  # lists and underlined titles
    """,
    re.IGNORECASE | re.VERBOSE,
)
_REFERENCES = "@#!~$%^&"  # what GitHub and GitLab look for after they have read the entities


def clean(text: str) -> str:
    """One line in which control, bidirectional and invisible characters are spelt out."""
    return visible(" ".join(text.split()))


def clean_block(text: str) -> str:
    """The same lines with control and invisible characters spelt out; indents stay."""
    return "\n".join(inert(visible(line)) for line in text.expandtabs(4).split("\n"))


def inert(line: str) -> str:
    """A line that no CI system takes for a command: `::` at its start is one to GitHub."""
    return _COMMAND.sub(lambda found: f"{found[1]}\\x{ord(found[2]):02x}", line)


def wrapped(text: str, width: int, *, indent: int = 0) -> list[str]:
    """A text as lines of at most that many columns; numbers keep their percent sign."""
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


def number(value: float | None, spec: str) -> str:
    """A number as `format(value, spec)`, or a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "-"
    return format(value, spec)


def code(text: str) -> str:
    """One line of text as code."""
    shown = clean(text)
    return f"`{shown}`" if _PLAIN.fullmatch(shown) else html_code(text)


def html_code(text: str) -> str:
    """One line of text as code where Markdown is not read, as in a `<summary>`."""
    return f"<code>{_ACTIVE.sub(lambda found: _entity(found[0]), clean(text))}</code>"


def prose(text: str) -> str:
    """One line of text as it stands, without markup, links, mentions or references."""
    return _ACTIVE.sub(_inactive, clean(text))


def fenced(text: str, language: str) -> str:
    """A block of text, in a fence that it does not hold itself."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}\n"


def _inactive(found: re.Match[str]) -> str:
    character = found[0]
    # A space of no width keeps a name from following its sign.
    return _entity(character) + "&#8203;" * (character in _REFERENCES)


def _entity(character: str) -> str:
    return f"&#{ord(character)};"
