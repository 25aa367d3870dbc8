"""`start_from`: a run that goes on from a model that is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from pytest_circuits.model import load_model
from pytest_circuits.model.checkpoint import read_tensors
from pytest_circuits.train.config import Sparsity, TrainConfig
from pytest_circuits.train.sparsity import nonzeros
from pytest_circuits.train.start import as_started

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_circuits.model import Model
    from tests.train.conftest import Train

START = {
    "start_from": "base",
    "data": "{held_out: 8, sources: [{generated: {documents: 40}}]}",
    "shape": "{}",
    "sparsity": "{}",
}


@pytest.fixture
def base(run_train: Train, out: Path, tmp_path: Path) -> Model:
    """A model to start from."""
    assert run_train().exit_code == 0
    return load_model(out.rename(tmp_path / "base"))


def test_a_run_goes_on_from_the_weights_of_a_model(
    base: Model, run_train: Train, out: Path
) -> None:
    result = run_train(**START, optimizer="{lr: 1.0e-9}", seed="7")
    assert result.exit_code == 0, result.output
    model = load_model(out)
    assert model.config == base.config
    assert model.tokenizer_digest == base.tokenizer_digest
    assert model.digest != base.digest
    for name, weight in model.module.state_dict().items():
        torch.testing.assert_close(weight, base.module.get_parameter(name), rtol=0, atol=1e-6)


def test_the_sparsity_of_the_model_is_kept(base: Model, run_train: Train, out: Path) -> None:
    assert run_train(**START).exit_code == 0
    assert nonzeros(load_model(out).module) == nonzeros(base.module)


def test_card_and_weights_name_the_model_that_was_started_from(
    base: Model, run_train: Train, out: Path
) -> None:
    run_train(**START)
    assert f"| started from | `base`, sha256 {base.digest} |" in (out / "README.md").read_text()
    _, metadata = read_tensors(out / "model.safetensors", max_bytes=2**24)
    assert base.digest in metadata["pytest_circuits"]


def test_a_started_run_is_resumed_to_the_same_weights_and_with_its_own_model_alone(
    base: Model, run_train: Train, out: Path, tmp_path: Path
) -> None:
    run_train(**START)
    once = load_model(out).digest
    out.rename(tmp_path / "once")
    state = out.with_name("tiny.training")
    (state / "checkpoint-00000000").mkdir()  # as if it had been killed before the first one
    assert run_train("--resume", **START).exit_code == 0
    assert load_model(out).digest == once
    base.path.rename(tmp_path / "old")
    out.rename(base.path)
    (state / "checkpoint-00000000").mkdir()
    result = run_train("--resume", **START)
    assert result.exit_code == 4
    assert "the run there has another parent" in result.output


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("shape", "{d_model: 64}", "shape.d_model is 64, the model has 32"),
        ("data", "{tokenizer: {vocab_size: 500}}", "vocab_size is 500, the model has 400"),
        ("data", "{tokenizer: {file: other.json}}", "the sha256 of data.tokenizer.file is"),
        ("preset", "tiny", "or the preset that sets them"),
    ],
)
def test_another_shape_or_tokenizer_than_the_model_has_is_refused(
    base: Model, run_train: Train, key: str, value: str, message: str
) -> None:
    other = (base.path / "tokenizer.json").read_text().replace('"id": 0', '"id": 0 ', 1)
    (base.path.parent / "other.json").write_text(other)
    result = run_train(**{**START, key: value})
    assert result.exit_code == 4
    assert message in result.output


def test_a_model_that_is_not_there_is_named(run_train: Train) -> None:
    result = run_train(**START)
    assert result.exit_code == 4
    assert "base: no such model directory" in result.output


def test_a_density_that_was_counted_gives_the_same_count_again(base: Model) -> None:
    config = as_started(TrainConfig(sparsity=Sparsity(anneal="log-log"), start_from="base"), base)
    for name, count in nonzeros(base.module).items():
        embeds = "embed" in name
        share = config.sparsity.embedding_density if embeds else config.sparsity.density
        assert int(share * base.module.get_parameter(name).numel()) == count, name
