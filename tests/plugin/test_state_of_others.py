"""Evidence does not depend on what others set in the same process, and they get it back."""

from __future__ import annotations

import json

import pytest

from tests.odd_state import ODD, state
from tests.plugin.conftest import Repository

CLAIMS = ("behaves", "sufficient", "necessary", "faithful")


def _evidence(repository: Repository, name: str) -> object:
    result = repository.gate(f"--circuits-report={name}.json")
    assert result.ret == 0
    return json.loads((repository.path / f"{name}.json").read_text())["circuits"]


@pytest.fixture(scope="module")
def expected() -> dict[str, object]:
    """Evidence of a run in which nobody has set anything, once there is one."""
    return {}


@pytest.mark.parametrize("odd", ODD)
def test_a_setting_of_others_changes_nothing_and_stays(
    repository: Repository, expected: dict[str, object], odd: str
) -> None:
    repository.write_good_spec(claims=CLAIMS)
    usual = expected.setdefault("usual", None) or _evidence(repository, "usual")
    expected["usual"] = usual

    with ODD[odd]():
        before = state()
        found = _evidence(repository, "odd")
        after = state()

    assert found == usual
    assert after == before
