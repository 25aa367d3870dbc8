"""What reads pickled files is a copy of a process that has torch, where no test says otherwise."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from pytest_circuits.convert import reader
from tests.warm import POSSIBLE, WarmPython


@pytest.fixture(scope="session")
def warm_torch() -> Iterator[WarmPython]:
    warm = WarmPython(("torch", "safetensors.torch"))
    yield warm
    warm.close()


@pytest.fixture
def as_it_is() -> None:
    """Let the process that reads start as users start it."""


@pytest.fixture(autouse=True)
def _warm_reader(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, warm_torch: WarmPython
) -> None:
    if POSSIBLE and "as_it_is" not in request.fixturenames:
        how = SimpleNamespace(run=warm_torch.run, TimeoutExpired=subprocess.TimeoutExpired)
        monkeypatch.setattr(reader, "subprocess", how)
