"""A small repository with a gate: one known-answer model and specifications of its circuits."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

import tests.loaded  # noqa: F401  (for the runs inside this process)
from tests.known_models import (
    QUOTE_PATH,
    WEAK_PATH,
    Circuit,
    Weights,
    write_quote_copier,
)

THRESHOLDS = {
    "behaves": "{rate: 0.98}",
    "sufficient": "{rate: 0.95, max_loss: 0.15}",
    "necessary": "{max_rate: 0.65}",
    "stable": "{max_drop: 0.02}",
    "faithful": "{rate: 0.9, max_gap: 0.2}",
}
THREE = ("behaves", "sufficient", "necessary")
FOUR = (*THREE, "stable")


def spec_text(
    *,
    name: str = "quote_close",
    nodes: Circuit = QUOTE_PATH,
    claims: tuple[str, ...] = THREE,
    model: str = "../model",
) -> str:
    """A specification over a space of sixteen pairs, all of which are run."""
    listed = "".join(f"  {hook}: {list(channels)}\n" for hook, channels in nodes.items())
    declared = "".join(f"  {claim}: {THRESHOLDS[claim]}\n" for claim in claims)
    return (
        f"version: 1\ncircuit: {name}\nmodel: {model}\nbehavior:\n"
        '  prompt: "{name} = {cue}{word}"\n  slots:\n'
        "    name: {choice: [x, name, value, user_id]}\n"
        "    word: {choice: [alpha, beta, gamma, delta]}\n"
        "  contrast:\n    cue:\n      \"'\": \"'\"\n      '\"': '\"'\n"
        f"ablation: mean\nnodes:\n{listed}claims:\n{declared}"
        "protocol: {pairs: 100, search: 10, controls: 20}\n"
    )


@dataclass(frozen=True)
class Repository:
    """A folder with `model/` and `circuits/`, and pytest runs in it."""

    pytester: pytest.Pytester

    @property
    def path(self) -> Path:
        """The root folder."""
        return self.pytester.path

    def write(self, file: str, text: str) -> Path:
        """Write a file, with the folders above it."""
        path = self.path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def write_good_spec(
        self, name: str = "quote_close", *, claims: tuple[str, ...] = THREE
    ) -> Path:
        """Write a specification whose claims hold (`stable` only with a baseline)."""
        return self.write(f"circuits/{name}.circuit.yaml", spec_text(name=name, claims=claims))

    def write_bad_spec(self, name: str = "weak_path") -> Path:
        """Write a specification of a circuit that is neither sufficient nor necessary."""
        text = spec_text(name=name, nodes=WEAK_PATH, claims=("behaves", "sufficient"))
        return self.write(f"circuits/{name}.circuit.yaml", text)

    def run(self, *arguments: str) -> pytest.RunResult:
        """Run `pytest` with these arguments, in this process."""
        return self.pytester.runpytest_inprocess(*arguments)

    def gate(self, *arguments: str) -> pytest.RunResult:
        """Run `pytest --circuits` with these arguments."""
        return self.run("--circuits", *arguments)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quote copier."""
    return write_quote_copier(tmp_path_factory.mktemp("gate") / "model")


@pytest.fixture(scope="session")
def broken_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A candidate that answers as well, but by another path."""
    weights = Weights(path=0.0, weak=1.5)
    return write_quote_copier(tmp_path_factory.mktemp("gate") / "broken", weights)


@pytest.fixture
def repository(pytester: pytest.Pytester, model_folder: Path) -> Repository:
    """A repository with a model and no specification yet."""
    shutil.copytree(model_folder, pytester.path / "model")
    return Repository(pytester)
