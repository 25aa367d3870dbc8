"""A hook of mkdocs: every page of the repository is one of the site, at the place where it lies.

So a relative link leads to the same page here and on a code host. A file that a page links to and
that is no page, such as a specification, is copied as it is.
"""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
FILES = """
README.md ARCHITECTURE.md CHANGELOG.md docs/**/*.md docs/site.css tests/benchmarks/*.md
circuits/*.md models/*.md models/*/*.md examples/*.md examples/*/*.md
"""
_LINK = re.compile(r"\]\(([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put the files of the repository in the place of those of the folder `docs`."""
    theme = [file for file in files if file.src_dir != config.docs_dir]
    found = [path for pattern in FILES.split() for path in sorted(ROOT.glob(pattern))]
    linked = {there for page in found for there in _linked(page)} - {*found}
    return Files([*theme, *(_file(path, config) for path in (*found, *sorted(linked)))])


def _linked(page: Path) -> set[Path]:
    """Files, and no folders, that a page links to."""
    found = {(page.parent / to).resolve() for to in _LINK.findall(page.read_text("utf-8"))}
    return {path for path in found if path.is_file() and path.suffix != ".md"}


def _file(path: Path, config: MkDocsConfig) -> File:
    name = path.relative_to(ROOT).as_posix()
    return File.generated(config, name, abs_src_path=str(path))
