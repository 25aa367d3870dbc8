"""What the README shows is what a reader gets, and every page leads where it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.loaded import check_once

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CIRCUITS = (ROOT / "circuits" / "README.md").read_text(encoding="utf-8")
SHOWN = "circuits/var_swap.circuit.yaml"
NOT_NEEDED = (
    "examples/not_needed/else_elif_not_needed.circuit.yaml::else_elif_not_needed::necessary"
)


Gate = Callable[..., pytest.RunResult]


@pytest.fixture
def gate(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Run `pytest --circuits` in the root folder, inside this process."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("pytest_circuits.gate.loading.check_reference", check_once)
    return partial(pytester.runpytest_inprocess, "--circuits", "-p", "no:cacheprovider")


def _rows(text: str) -> list[tuple[str, ...]]:
    """Verdict, circuit and claim of each row of a summary."""
    return re.findall(r"^(pass|fail|inconclusive) +(\w+) +(\w+) ", text, flags=re.MULTILINE)


def test_the_specification_that_is_shown_is_the_bundled_one() -> None:
    shown = README.split("```yaml\n")[1].split("```")[0]
    assert (ROOT / SHOWN).read_text(encoding="utf-8").startswith(shown)


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


def test_the_red_run_is_red_for_the_reason_that_is_shown(gate: Gate) -> None:
    shown = README.split("```text\n")[1].split("```")[0]
    result = gate(NOT_NEEDED)
    printed = str(result.stdout)
    assert result.ret == 1
    assert _rows(printed) == _rows(shown) == [("fail", "else_elif_not_needed", "necessary")]
    assert "another path does the same job" in " ".join(printed.split())
    assert shown.splitlines()[0] in printed


def test_the_green_run_is_green(gate: Gate) -> None:
    shown = README.split("```text\n")[2].split("```")[0]
    result = gate(SHOWN)
    printed = str(result.stdout)
    assert result.ret == 0
    assert _rows(printed) == [row for row in _rows(shown) if row[1] == "var_swap"]
    assert len(_rows(printed)) == 7


PAGES = [
    *ROOT.glob("*.md"),
    *(
        page
        for folder in ("docs", "circuits", "examples", "models")
        for page in ROOT.glob(f"{folder}/**/*.md")
    ),
    ROOT / "pytest_circuits" / "claims" / "README.md",
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
