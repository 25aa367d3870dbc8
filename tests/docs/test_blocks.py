"""Each fenced block of README and docs: run, compared with what the page shows, or named here."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.docs.pages import MARKS, PAGES, REASONS, ROOT, Block, blocks_of
from tests.docs.run_blocks import KINDS, Run, clone, matches
from tests.warm import POSSIBLE, WarmPython

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
RUN = [block for block in BLOCKS if block.mark not in {"not run", "tested in"}]
LOADED = ("pytest", "torch", "hypothesis", "pytest_circuits.gate.hooks", "scipy.special")


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    if not POSSIBLE:
        yield partial(subprocess.run, capture_output=True, text=True, check=False)
        return
    warm = WarmPython(LOADED)
    yield warm.run
    warm.close()


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_each_block_is_run_or_says_why_not(block: Block) -> None:
    assert not block.mark or block.mark in MARKS
    if block.mark == "not run":
        assert block.value in REASONS
    elif block.mark == "tested in":
        assert block.page.name in (ROOT / block.value).read_text(encoding="utf-8")
    elif block.mark == "part of":
        assert block.value in KINDS
    else:
        assert block.language in {"console", "sh", "yaml", "python", "toml"}
        assert block.language != "yaml" or block.mark, "say what the YAML is of"


@pytest.mark.parametrize("page", sorted({block.page for block in RUN}), ids=lambda page: page.stem)
def test_the_blocks_of_a_page_do_what_they_say(
    page: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    # What the process that is copied has loaded is nothing that a reader sees.
    monkeypatch.setenv("PYTEST_ADDOPTS", "-W ignore::pytest.PytestAssertRewriteWarning")
    folder = clone(tmp_path / "clone", run)
    for block in blocks_of(page):
        if block in RUN:
            folder.execute(block)


@pytest.mark.parametrize(
    ("wanted", "shown", "right"),
    [
        ("a\n...\nb\n", "a\nb\n", True),
        ("a\n...\nb\n", "a\n1\n2\nb\n", True),
        ("a ... b\n", "a    1 b\n", True),
        ("a\n", "a\nb\n", False),
        ("a ... b\n", "a\nb\n", False),
        ("a.b\n", "axb\n", False),
    ],
)
def test_what_is_shown_is_compared(wanted: str, shown: str, *, right: bool) -> None:
    assert matches(wanted, shown) is right
