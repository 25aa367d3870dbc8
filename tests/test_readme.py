"""Every page leads where it says, and the table of circuits has their sizes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CIRCUITS = (ROOT / "circuits" / "README.md").read_text(encoding="utf-8")


def test_the_table_lists_the_bundled_circuits_with_their_sizes() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \|", CIRCUITS, flags=re.MULTILINE)
    found = []
    for path in sorted((ROOT / "circuits").glob("*.circuit.yaml")):
        text = path.read_text(encoding="utf-8")
        if "\nnodes:\n" not in text:
            continue  # a behavior without a circuit
        sizes = (
            re.findall(rf"^  {key}: (\d+)", text, flags=re.MULTILINE)[0]
            for key in ("nodes", "edges")
        )
        found.append((path.name.split(".")[0], *sizes))
    assert rows == found


PAGES = [
    *ROOT.glob("*.md"),
    *(
        page
        for folder in ("docs", "circuits", "examples", "models")
        for page in ROOT.glob(f"{folder}/**/*.md")
    ),
    ROOT / "tests" / "benchmarks" / "defects.md",
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = _without_code(page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not anchor or anchor in _anchors(there), target


def test_the_readme_can_be_read_at_once() -> None:
    assert len(README.splitlines()) <= 150


def _without_code(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def _anchors(page: Path) -> list[str]:
    """What GitHub makes of headings."""
    headings = re.findall(r"^#+ (.*)$", _without_code(page.read_text("utf-8")), flags=re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return [heading.replace(" ", "-") for heading in plain]
