"""Training: a function of its configuration, and a model directory at the end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from pytest_circuits.cli import main
from pytest_circuits.model import ModelConfig, SparseGPT, load_model, load_reference
from pytest_circuits.train.config import Optimizer, Shape, Sparsity, TrainConfig
from pytest_circuits.train.corpus import generated_documents
from pytest_circuits.train.data import Mixture
from pytest_circuits.train.loop import DivergedError, Step, initialise, train
from pytest_circuits.train.sparsity import nonzeros

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = TrainConfig(
    steps=30,
    batch=8,
    shape=Shape(d_model=32, d_head=8, d_mlp=64, max_tokens=16),
    sparsity=Sparsity(density=0.1),
    optimizer=Optimizer(lr=0.01),
)
RECIPE = """\
steps: 6
batch: 4
data: {vocab_size: 400, library_modules: 65, generated_documents: 65}
shape: {n_layer: 1, d_model: 32, d_head: 8, d_mlp: 64, max_tokens: 16}
sparsity: {density: 0.1}
"""


def _mixture() -> Mixture:
    counting = np.arange(5000, dtype=np.uint16) % 20
    return Mixture(library=counting, generated=counting[::-1].copy(), generated_share=0.0)


def _train(config: TrainConfig) -> tuple[SparseGPT, list[Step]]:
    model = SparseGPT(ModelConfig(vocab_size=20, **config.shape.model_dump()))
    initialise(model, seed=config.seed)
    data = _mixture()

    def batches(step: int) -> torch.Tensor:
        length = config.shape.max_tokens + 1
        return data.rows(seed=config.seed, step=step, count=config.batch, length=length)

    return model, list(train(model, config, batches))


def test_training_learns_and_ends_sparse() -> None:
    model, steps = _train(CONFIG)
    assert steps[-1].loss < steps[0].loss / 2
    assert steps[0].density == 1.0 or steps[0].density > steps[-1].density
    assert steps[-1].density == pytest.approx(0.1)
    assert nonzeros(model)["mlp.0.up.weight"] <= 0.1 * 32 * 64


@pytest.mark.parametrize("recipe", ["clip", "rms"])
def test_training_is_a_function_of_its_configuration(recipe: str) -> None:
    settings = {"clip": Optimizer(lr=0.01), "rms": Optimizer(lr=0.02, eps=0.1, normalise="rms")}
    config = CONFIG.model_copy(update={"optimizer": settings[recipe], "steps": 8})
    first, second = _train(config)[0].state_dict(), _train(config)[0].state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = _train(config.model_copy(update={"seed": 1}))[0].state_dict()
    assert not torch.equal(first["embed.weight"], other["embed.weight"])


def test_a_loss_that_is_not_a_number_stops_with_advice() -> None:
    config = CONFIG.model_copy(update={"optimizer": Optimizer(lr=1e30, normalise="clip")})
    with pytest.raises(DivergedError, match="lower optimizer"):
        _train(config)


def test_batches_are_a_function_of_seed_and_step() -> None:
    data = _mixture()
    rows = data.rows(seed=3, step=7, count=4, length=9)
    assert rows.shape == (4, 9)
    assert torch.equal(rows, data.rows(seed=3, step=7, count=4, length=9))
    assert not torch.equal(rows, data.rows(seed=3, step=8, count=4, length=9))
    assert not torch.equal(rows, data.rows(seed=4, step=7, count=4, length=9))


def test_generated_documents_are_python_and_do_not_depend_on_their_number() -> None:
    few, many = generated_documents(seed=0, count=3), generated_documents(seed=0, count=6)
    assert many[:3] == few
    lines = [line for text in many for line in text.splitlines()]
    whole = [
        line for line in lines if not line.startswith((" ", "def", "for", "while", "if", "with"))
    ]
    for line in whole[:300]:
        compile(line, "<line>", "exec")


def test_the_command_makes_a_model_directory_with_card_and_reference(tmp_path: Path) -> None:
    recipe, out = tmp_path / "tiny.yaml", tmp_path / "tiny"
    recipe.write_text(RECIPE)
    result = CliRunner().invoke(main, ["train", str(recipe), "--out", str(out)])
    assert result.exit_code == 0, result.output
    model = load_model(out)
    assert load_reference(model).tokens.shape == (1024, 16)
    assert json.loads((out / "config.json").read_text())["d_model"] == 32
    card = (out / "README.md").read_text()
    assert f"pytest-circuits train {recipe} --out {out}" in card
    assert "384 tokens in 6 steps of 4 rows" in card


def test_the_command_refuses_a_folder_that_is_not_empty(tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(RECIPE)
    result = CliRunner().invoke(main, ["train", str(recipe), "--out", str(tmp_path)])
    assert result.exit_code == 4
    assert "is there and not an empty directory" in result.output


def test_a_misspelt_key_is_shown_at_its_place(tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text("steps: 6\nsparsity:\n  densty: 0.1\n")
    result = CliRunner().invoke(main, ["train", str(recipe), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert f"{recipe}:3:3: unknown key 'densty'" in result.output
    assert "density" in result.output


def test_parts_that_contradict_each_other_are_said_to(tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text("steps: 6\nshape: {d_model: 16, d_head: 8}\n")
    result = CliRunner().invoke(main, ["train", str(recipe), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert f"{recipe}:1:1: sparsity.min_per_neuron 1 asks for more than" in result.output


def test_an_interruption_at_the_very_end_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, out = tmp_path / "tiny.yaml", tmp_path / "models" / "tiny"
    recipe.write_text(RECIPE)

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pytest_circuits.train.job.measure", interrupt)  # all else is written then
    result = CliRunner().invoke(main, ["train", str(recipe), "--out", str(out)])
    assert result.exit_code == 4
    assert "interrupted; nothing was written" in result.output
    assert list(out.parent.iterdir()) == []
