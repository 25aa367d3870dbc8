"""The pages of the documentation, and their fenced blocks with the mark above each.

A mark is a comment of Markdown on the line above a block, which no reader sees:

file: NAME          the block is written to this file, for the commands after it
below: LINE in FILE the block is put below this line of a file
begins: FILE        the file of the repository begins with the block
exits: STATUS       how its last command ends; 0 where nothing is said
part of: KIND       the block is YAML that is put into one of `KINDS`
tested in: FILE     a test of its own takes the block from the page
not run: REASON     it is not run, for one of `REASONS`
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
MARKS = ("file", "below", "begins", "exits", "part of", "tested in", "not run")
REASONS = (
    "it installs the package",
    "it runs the tests",
    "it takes minutes",
    "it needs several GPUs or machines",
    "it needs models of transformers",
    "it needs what others published",
    "it changes the package",
)


@dataclass(frozen=True, slots=True)
class Block:
    page: Path
    line: int
    language: str
    text: str
    mark: str = ""  # one of `MARKS`
    value: str = ""  # what the mark says

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    above = ""
    for token in tokens:
        if token.type == "fence":
            assert token.map is not None
            mark, _, value = above.partition(": ")
            language = token.info.split()[0] if token.info else ""
            yield Block(page, token.map[0] + 1, language, token.content, mark, value)
        is_mark = token.type == "html_block" and token.content.startswith("<!-- ")
        above = token.content.strip()[5:-4] if is_mark else ""
