"""`start_from`: a run that goes on from a model that is there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from pytest_circuits.cli import main
from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.model.sparse.directory import load_sparse_model
from pytest_circuits.model.tensor_file import read_tensors
from pytest_circuits.train.config import Sparsity, TrainConfig
from pytest_circuits.train.sparsity import nonzeros
from pytest_circuits.train.start import as_started
from tests.train.conftest import RECIPE, Train

STARTED = """\
start_from: base
seed: 7
steps: 4
batch: 4
data: {held_out: 8, sources: [{library: {modules: 12}}]}
optimizer: {lr: 1.0e-9}
evaluation: {windows: 64}
"""
ALSO = {
    "start_from": "base",
    "data": "{held_out: 8, sources: [{library: {modules: 12}}]}",
    "shape": "{}",
    "sparsity": "{}",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and another that was started from it and hardly trained."""
    folder = tmp_path_factory.mktemp("started")
    for text, name in ((RECIPE, "base"), (STARTED, "started")):
        recipe = folder / f"{name}.yaml"
        recipe.write_text(text)
        result = CliRunner().invoke(main, ["train", str(recipe), "--out", str(folder / name)])
        assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def base(folder: Path, tmp_path: Path) -> SparseModel:
    """A model to start from, beside the recipe."""
    return load_sparse_model(shutil.copytree(folder / "base", tmp_path / "base"))


def test_a_run_goes_on_from_weights_shape_and_tokenizer_of_a_model(folder: Path) -> None:
    base, started = load_sparse_model(folder / "base"), load_sparse_model(folder / "started")
    assert started.config == base.config
    assert started.tokenizer_digest == base.tokenizer_digest
    assert started.digest != base.digest
    for name, weight in started.module.state_dict().items():
        expected = base.module.get_parameter(name)
        torch.testing.assert_close(weight, expected, rtol=0, atol=1e-6, msg=name)


def test_the_sparsity_of_the_model_is_kept(folder: Path) -> None:
    base, started = load_sparse_model(folder / "base"), load_sparse_model(folder / "started")
    assert nonzeros(started.module) == nonzeros(base.module)


def test_card_and_weights_name_the_model_that_was_started_from(folder: Path) -> None:
    digest, out = load_sparse_model(folder / "base").digest, folder / "started"
    assert f"| started from | `base`, sha256 {digest} |" in (out / "README.md").read_text()
    _, metadata = read_tensors(out / "model.safetensors", max_bytes=2**24)
    assert digest in metadata["pytest_circuits"]


def test_a_run_is_not_resumed_when_another_model_lies_where_it_started_from(
    base: SparseModel, run_train: Train, out: Path
) -> None:
    run_train(**ALSO)
    (out.with_name("tiny.training") / "checkpoint-00000004").mkdir()  # as if it had been killed
    shutil.rmtree(base.path)
    out.rename(base.path)
    result = run_train("--resume", **ALSO)
    assert result.exit_code == 4
    assert "the run there has another parent" in result.output


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("shape", "{d_model: 64}", "shape.d_model is 64, the model has 32"),
        ("sparsity", "{density: 0.5}", "sparsity.density is 0.5, the model has 0.09"),
        ("data", "{tokenizer: {vocab_size: 500}}", "vocab_size is 500, the model has 400"),
        ("data", "{tokenizer: {file: other.json}}", "the sha256 of data.tokenizer.file is"),
        ("preset", "tiny", "or the preset that sets them"),
    ],
)
def test_what_the_model_does_not_have_is_refused(
    base: SparseModel, run_train: Train, key: str, value: str, message: str
) -> None:
    says = json.loads((base.path / "tokenizer.json").read_text(encoding="utf-8"))
    vocab = says["model"]["vocab"]
    vocab["a"], vocab["b"] = vocab["b"], vocab["a"]
    (base.path.parent / "other.json").write_text(json.dumps(says), encoding="utf-8")
    result = run_train(**{**ALSO, key: value})
    assert result.exit_code == 4
    assert message in result.output


def test_a_model_that_is_not_there_is_named(run_train: Train) -> None:
    result = run_train(**ALSO)
    assert result.exit_code == 2
    assert "base: no such model directory" in result.output


def test_a_density_that_was_counted_gives_the_same_count_again(base: SparseModel) -> None:
    config = as_started(TrainConfig(sparsity=Sparsity(anneal="log-log"), start_from="base"), base)
    for name, count in nonzeros(base.module).items():
        embeds = "embed" in name
        share = config.sparsity.embedding_density if embeds else config.sparsity.density
        assert int(share * base.module.get_parameter(name).numel()) == count, name
