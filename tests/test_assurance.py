"""What the assurance page names is there: tests by their names, scripts, and pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "assurance.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)))
LINKED = sorted(set(re.findall(r"\]\(([^)#]+)", PAGE)))


def test_the_page_names_some() -> None:
    assert len(NAMED) > 30
    assert "tests/benchmarks/defects.py" in dict(NAMED)


@pytest.mark.parametrize(("path", "name"), NAMED, ids="::".join)
def test_what_stands_behind_a_claim_is_there(path: str, name: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    assert not name or re.search(rf"^def {name}\(", text, flags=re.MULTILINE)


@pytest.mark.parametrize("link", LINKED)
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / "docs" / link).exists()


@pytest.mark.parametrize(
    ("figure", "source"),
    [
        ("of 820 planted defects 796", "tests/benchmarks/defects.md"),
        ("of 340 right circuits", "tests/benchmarks/defects.md"),
    ],
)
def test_figures_are_those_of_the_tables(figure: str, source: str) -> None:
    """The table is printed anew now and then, and this page has to follow."""
    text = (ROOT / source).read_text(encoding="utf-8")
    assert figure in PAGE
    assert figure.lower() in " ".join(text.split()).lower()
