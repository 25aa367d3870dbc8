"""A recipe that trains in a second, and ways to run it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pytest_circuits.cli import main

RECIPE = """\
steps: 12
batch: 4
data: {tokenizer: {vocab_size: 400}, held_out: 8, sources: [{library: {modules: 12}}]}
shape: {n_layer: 1, d_model: 32, d_head: 8, d_mlp: 64, max_tokens: 16}
sparsity: {density: 0.1}
checkpoints: {every: 4}
metrics: {every: 2}
evaluation: {every: 6, windows: 64}
"""

Train = Callable[..., Result]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A configuration file."""
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where the model goes."""
    return tmp_path / "tiny"


@pytest.fixture
def run_train(recipe: Path, out: Path) -> Train:
    """`pytest-circuits train` in this process, on the recipe with some of its text replaced."""

    def run(*options: str, **replaced: str) -> Result:
        text = RECIPE
        for key, value in replaced.items():
            lines = [line for line in text.splitlines() if not line.startswith(f"{key}:")]
            text = "\n".join([*lines, f"{key}: {value}", ""])
        recipe.write_text(text)
        return CliRunner().invoke(main, ["train", str(recipe), "--out", str(out), *options])

    return run
