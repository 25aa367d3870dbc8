"""`pytest-circuits train`: a model directory, its card, and what a user can get wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pytest_circuits.cli import main
from pytest_circuits.model.open import load_model
from pytest_circuits.model.reference_file import load_reference
from pytest_circuits.train.config import TrainConfig
from pytest_circuits.train.presets import PRESETS
from tests.odd_state import all_odd, state
from tests.train.conftest import Train


def test_the_command_makes_a_model_directory_with_card_and_reference(
    run_train: Train, recipe: Path, out: Path
) -> None:
    result = run_train()
    assert result.exit_code == 0, result.output
    model = load_model(out)
    assert load_reference(model).tokens.shape == (1024, 16)
    assert json.loads((out / "config.json").read_text())["d_model"] == 32
    card = (out / "README.md").read_text()
    assert f"pytest-circuits train {recipe} --out {out}" in card
    assert "768 tokens in 12 steps of 4 rows" in card
    assert "| `library` | 100% |" in card
    assert "nonzero weights, held-out loss" in result.stdout


def test_what_only_an_unfinished_run_needs_is_gone_afterwards(run_train: Train, out: Path) -> None:
    run_train()
    folder = out.with_name("tiny.training")
    left = [".lock", "lock", "metrics.jsonl", "run.json"]
    assert sorted(p.name for p in folder.iterdir()) == left
    assert sorted(p.name for p in out.parent.iterdir()) == ["tiny", "tiny.training", "tiny.yaml"]


def test_the_command_refuses_a_folder_that_is_not_empty(run_train: Train, out: Path) -> None:
    out.mkdir()
    (out / "mine.txt").write_text("precious")
    result = run_train()
    assert result.exit_code == 4
    assert "is there and not an empty directory" in result.output
    assert (out / "mine.txt").read_text() == "precious"


def test_a_misspelt_key_is_shown_at_its_place(run_train: Train, recipe: Path) -> None:
    result = run_train(sparsity="{densty: 0.1}")
    assert result.exit_code == 2
    assert f"{recipe}:8:12: unknown key 'densty'" in result.output
    assert "density" in result.output


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("sparsity", "{density: 0.01}", "sparsity.min_per_neuron 1 asks for more than"),
        ("sparsity", "{anneal_start: 0.5, anneal_stop: 0.2}", "anneal_stop 0.2 lies before"),
        ("shape", "{d_model: 30, d_head: 8}", "d_model 30 is not a multiple of d_head 8"),
        ("shape", "{positions: concatenated}", "concatenated positions need a width"),
        ("preset", "huge", "huge"),
        ("preset", "[tiny]", "preset"),
        ("optimizer", "{betas: [1.0, 0.95]}", "betas"),
        ("evaluation", "{behaviors: [.]}", "'.' names no files"),
    ],
)
def test_parts_that_contradict_each_other_are_said_to(
    run_train: Train, key: str, value: str, message: str
) -> None:
    result = run_train(**{key: value})
    assert result.exit_code == 2
    assert message in result.output


def test_an_empty_file_is_not_a_configuration(recipe: Path, out: Path) -> None:
    recipe.write_text("")
    result = CliRunner().invoke(main, ["train", str(recipe), "--out", str(out)])
    assert result.exit_code == 2
    assert "the file is empty, not a configuration" in result.output


def test_a_bigram_table_that_fills_the_memory_is_refused(
    run_train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_circuits.train.job._MOST_BIGRAM", 399)
    result = run_train()
    assert result.exit_code == 4
    assert "set shape.bigram: false" in result.output


def test_a_place_that_cannot_be_written_is_said(run_train: Train, out: Path) -> None:
    out.with_name("tiny.training").write_text("a file")
    result = run_train()
    assert result.exit_code == 4
    assert "cannot be written" in result.output


def test_more_rows_than_a_source_has_are_refused_with_advice(run_train: Train) -> None:
    result = run_train(shape="{n_layer: 1, d_model: 32, d_head: 8, d_mlp: 64, max_tokens: 60000}")
    assert result.exit_code == 4
    assert "lower max_tokens" in result.output


def test_a_preset_fills_in_where_the_file_is_silent(tmp_path: Path) -> None:
    recipe, out = tmp_path / "tiny.yaml", tmp_path / "model"
    recipe.write_text(
        "preset: tiny\nsteps: 2\ndata: {sources: [{library: {modules: 12}}], held_out: 8}\n"
    )
    result = CliRunner().invoke(main, ["train", str(recipe), "--out", str(out)])
    assert result.exit_code == 0, result.output
    config = json.loads((out / "config.json").read_text())
    assert (config["d_model"], config["vocab_size"]) == (64, 512)


def test_what_others_set_in_the_process_changes_no_weight(run_train: Train, out: Path) -> None:
    assert run_train().exit_code == 0
    usual = out.rename(out.with_name("usual"))
    with all_odd():
        before = state()
        result = run_train("--resume")
        after = state()
    assert result.exit_code == 0, result.output
    for name in ("model.safetensors", "reference.safetensors"):
        assert (out / name).read_bytes() == (usual / name).read_bytes()
    assert after == before


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_is_a_configuration(name: str) -> None:
    config = TrainConfig.model_validate({"preset": name, "seed": 3})
    assert config.seed == 3


def test_the_118m_preset_has_the_nonzeros_of_the_released_script() -> None:
    config = TrainConfig.model_validate({"preset": "paper-118m"})
    shape, sparsity = config.shape, config.sparsity
    block = 12 * shape.d_model**2 * shape.n_layer
    embeddings = 2 * 2048 * shape.d_model
    assert block * sparsity.density == 1_572_864
    assert embeddings * sparsity.embedding_density == 262_144
    assert config.steps * config.batch * shape.max_tokens == pytest.approx(32e9, rel=1e-5)


def test_a_given_tokenizer_takes_the_place_of_a_preset_s() -> None:
    data = {"tokenizer": {"file": "tokenizer.json"}}
    config = TrainConfig.model_validate({"preset": "paper-30m", "data": data})
    assert config.data.tokenizer.file == "tokenizer.json"
