"""What is kept is thrown away where the code that computed it is another, and not otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_circuits.system import sources


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of three modules, of which the state of `prune` depends on two."""
    monkeypatch.setattr(sources, "_PACKAGE", tmp_path)
    for name in ("prune/search.py", "errors.py", "report/html.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    return tmp_path


def _digest() -> str:
    return sources.source_digest.__wrapped__("prune", "errors")


@pytest.mark.parametrize("changed", ["prune/search.py", "errors.py"])
def test_another_text_of_a_room_is_another_digest(package: Path, changed: str) -> None:
    before = _digest()
    (package / changed).write_text("x = 2\n")
    assert _digest() != before


def test_other_rooms_may_change(package: Path) -> None:
    before = _digest()
    (package / "report" / "html.py").write_text("x = 2\n")
    assert _digest() == before
