"""Text from files and models, made safe to stand in Markdown: it is shown, whatever it says.

Names are code, which no renderer turns into links, mentions or markup; sentences have every
character that could start something written as an HTML entity.
"""

from __future__ import annotations

import re

from pytest_circuits.report.safe_text import clean

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
