"""`pytest-circuits convert FOLDER`: a published model becomes a model directory, or nothing."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from pytest_circuits.cli import main
from pytest_circuits.model.reference_file import load_reference
from pytest_circuits.model.sparse.directory import load_sparse_model
from tests.convert.published_models import (
    State,
    config_with,
    random_state,
    straight_logits,
    write_published,
)

VOCABULARY = 300
CONFIG = config_with(vocab_size=VOCABULARY, tied_unembed=True)
TEXT = "the band and the hand of the land " * 200


@pytest.fixture(scope="module")
def state() -> State:
    return random_state(CONFIG)


@pytest.fixture
def source(tmp_path: Path, state: State) -> Path:
    """A published model with a rank file beside it."""
    folder = write_published(tmp_path / "csp_small", CONFIG, state)
    tokens = [*(bytes([b]) for b in range(256)), b"th", b"and", b"an", b" th", b" the"]
    lines = [f"{base64.b64encode(token).decode()} {rank}" for rank, token in enumerate(tokens)]
    (folder / "small.tiktoken").write_text("\n".join(lines))
    return folder


def _convert(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["convert", *map(str, arguments)])


def test_the_model_loads_and_has_the_published_logits(
    source: Path, tmp_path: Path, state: State
) -> None:
    out = tmp_path / "models" / "small"
    result = _convert(source, "--out", out)
    assert result.exit_code == 0, result.output
    assert "2 layers, d_model 16, vocabulary 300, positions none" in result.output
    assert f"pytest-circuits reference {out} --text FILE" in result.output
    model = load_sparse_model(out)
    tokens = model.encode("the band")
    assert len(tokens) < len("the band")
    logits = model.module(torch.tensor([tokens]))[0].double()
    torch.testing.assert_close(logits, straight_logits(CONFIG, state, tokens), atol=1e-5, rtol=1e-5)
    names = ["README.md", "config.json", "model.safetensors", "tokenizer.json"]
    assert sorted(path.name for path in out.iterdir()) == names


def test_the_card_says_where_the_model_came_from(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    assert _convert(source, "--out", out).exit_code == 0
    card = (out / "README.md").read_text(encoding="utf-8")
    for name in ("beeg_config.json", "final_model.pt", "small.tiktoken"):
        digest = hashlib.sha256((source / name).read_bytes()).hexdigest()
        assert f"| `{name}` | `{digest}` |" in card
    assert str(tmp_path) not in card
    assert "pytest-circuits convert csp_small" in card


def test_text_gives_the_model_its_reference(source: Path, tmp_path: Path) -> None:
    text, out = tmp_path / "text.txt", tmp_path / "small"
    text.write_text(TEXT, encoding="utf-8")
    result = _convert(source, "--out", out, "--text", text)
    assert result.exit_code == 0, result.output
    reference = load_reference(load_sparse_model(out))
    assert reference.tokens.shape[1] == CONFIG["block_size"]
    assert "no reference" not in result.output


def test_two_conversions_give_the_same_bytes(source: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert _convert(source, "--out", tmp_path / name / "small").exit_code == 0
    for path in (tmp_path / "a" / "small").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / "small" / path.name).read_bytes()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rms_norm": False}, "rms_norm: False is not supported"),
        ({"d_mlp": 25}, "'transformer.h.0.mlp.c_fc.weight' has shape [24, 16]"),
        ({"tokenizer_name": "gpt2"}, "the model's tokenizer is 'gpt2'"),
        ({"vocab_size": 260}, "has 261 tokens, but the model's vocabulary is 260"),
    ],
)
def test_a_refusal_leaves_nothing_behind(
    source: Path, tmp_path: Path, state: State, changes: dict[str, Any], said: str
) -> None:
    write_published(source, CONFIG | changes, state)
    before = sorted(tmp_path.rglob("*"))
    result = _convert(source, "--out", tmp_path / "small")
    assert result.exit_code == 2
    assert said in result.output
    assert sorted(tmp_path.rglob("*")) == before


def test_a_pickle_of_something_else_is_refused(source: Path, tmp_path: Path, state: State) -> None:
    torch.save({"model": state, "step": 3}, source / "final_model.pt")
    result = _convert(source, "--out", tmp_path / "small")
    assert result.exit_code == 2
    assert "final_model.pt: 'step' is no tensor; not a state dict" in result.output


def test_misuse_is_told_before_anything_is_read(source: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").touch()
    spec = tmp_path / "x.circuit.yaml"
    for arguments, said in (
        ((source, "--out", full), "is there and not an empty directory"),
        ((full, "--out", tmp_path / "new"), "beeg_config.json and final_model.pt not found"),
        ((source, "--out", tmp_path / "new", "--model", full), "--model is for a circuit"),
        ((full / "file", "--out", spec, "--text", full / "file"), "--text is for a model"),
        ((full / "file", "--out", spec), "a circuit needs its model"),
        ((full / "file", "--out", full, "--model", source), "is named NAME.circuit.yaml"),
    ):
        result = _convert(*arguments)
        assert result.exit_code == 4, result.output
        assert said in result.output
    (source / "small.tiktoken").unlink()
    result = _convert(source, "--out", tmp_path / "new")
    assert result.exit_code == 4
    assert "which tokenizer? It holds none" in result.output
