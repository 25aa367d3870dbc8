"""The site is built strictly, with every page, and asks nothing of the network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT

pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site; a link or an anchor that leads nowhere, or a page in no menu, fails."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_in_it(site: Path) -> None:
    missing = [
        page
        for page in PAGES[1:]
        if not (site / page.relative_to(ROOT).with_suffix(".html")).exists()
    ]
    assert not missing


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    pages = [page.read_text(encoding="utf-8") for page in site.rglob("*.html")]
    loaded = [
        url for page in pages for url in re.findall(r'<(?:script|link|img)[^>]*"(//|http)', page)
    ]
    assert len(pages) > 20
    assert not loaded


def test_lists_and_blocks_are_shown_as_such(site: Path) -> None:
    """A block inside a list ends it here, and the rest of the list would be one paragraph."""
    pages = {page: page.read_text(encoding="utf-8") for page in site.rglob("*.html")}
    paragraphs = [
        (page, said)
        for page, text in pages.items()
        for said in re.findall(r"<p>(.*?)</p>", text, re.DOTALL)
    ]
    assert not [page for page, said in paragraphs if re.search(r"\n(- |\d+\. |\|)|```", said)]
