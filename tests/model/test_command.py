"""`pytest-circuits reference`: a candidate gets a reference of its own, or a clear refusal."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file

from pytest_circuits.cli import main
from pytest_circuits.model.open import load_model
from pytest_circuits.model.reference_file import REFERENCE, load_reference
from pytest_circuits.model.sparse.directory import WEIGHTS
from tests.known_models import write_quote_copier


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_quote_copier(tmp_path_factory.mktemp("model") / "copier")


@pytest.fixture
def candidate(original: Path, tmp_path: Path) -> Path:
    """The model after an update, without a reference."""
    folder = Path(shutil.copytree(original, tmp_path / "candidate"))
    tensors = load_file(folder / WEIGHTS)
    tensors["unembed.bias"] += 0.5
    save_file(tensors, folder / WEIGHTS)
    (folder / REFERENCE).unlink()
    return folder


def _reference(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["reference", *map(str, arguments)])


def test_like_measures_on_the_text_of_another_model(original: Path, candidate: Path) -> None:
    result = _reference(candidate, "--like", original)
    assert result.exit_code == 0, result.output
    measured, before = load_reference(load_model(candidate)), load_reference(load_model(original))
    assert torch.equal(measured.tokens, before.tokens)
    assert measured.model_digest != before.model_digest
    assert torch.equal(
        measured.mean["final_resid"], before.mean["final_resid"]
    )  # only logits moved


def test_without_a_source_the_text_beside_the_model_is_used_again(
    original: Path, candidate: Path
) -> None:
    shutil.copy(original / REFERENCE, candidate / REFERENCE)  # measured on other weights
    assert _reference(candidate).exit_code == 0
    assert load_reference(load_model(candidate)).model_digest == load_model(candidate).digest


def test_text_files_are_cut_into_windows(candidate: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("alpha = 'beta gamma'\n" * 300)
    result = _reference(candidate, "--text", text)
    assert result.exit_code == 0, result.output
    model = load_model(candidate)
    assert load_reference(model).tokens.shape[1] == model.max_tokens


def test_too_little_text_is_refused_and_nothing_is_written(candidate: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("alpha\n")
    result = _reference(candidate, "--text", text)
    assert result.exit_code == 4
    assert "a reference needs at least" in result.output
    assert not (candidate / REFERENCE).exists()


def test_two_sources_are_refused(original: Path, candidate: Path, tmp_path: Path) -> None:
    result = _reference(candidate, "--like", original, "--text", tmp_path / "text.txt")
    assert result.exit_code == 4
    assert "exclude each other" in result.output


def test_a_model_without_any_reference_says_how_to_get_one(candidate: Path) -> None:
    result = _reference(candidate)
    assert result.exit_code == 2
    assert "--like MODEL" in result.output


def test_a_source_that_is_no_folder_is_said_to_be_none(candidate: Path, tmp_path: Path) -> None:
    result = _reference(candidate, "--like", tmp_path / "typo")
    assert result.exit_code == 2
    assert "no such model directory" in result.output
