"""What every part of the suite may use."""

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.slow import SLOW

if "PYTEST_XDIST_WORKER" in os.environ:  # one thread each: workers that share cores fight for them
    os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["pytester"]


def pytest_collection_finish() -> None:
    """Modules and tests stay to the end: from here on the garbage collector passes them by."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the longest test, so that no worker is left alone with it at the end.

    The slow ones run where they are asked for, by `-m slow` or by name.
    """
    slow = [item for item in items if item.nodeid.removeprefix("tests/") in SLOW]
    for item in slow:
        item.add_marker("slow")
    if "slow" not in config.option.markexpr and not any("::" in arg for arg in config.args):
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]
    items.sort(key=lambda item: item.name != "test_the_tools_find_nothing[mypy]")


@pytest.fixture
def profile_given_back() -> Iterator[None]:
    """Whatever profile of Hypothesis a test loads, those after it run with the one before."""
    before = settings.get_current_profile_name()
    yield
    settings.load_profile(before)


@pytest.fixture(autouse=True)
def _on_a_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wide terminal, and no sign of the CI that these tests may run under."""
    for name in ("CI", "BUILD_NUMBER", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "160")
