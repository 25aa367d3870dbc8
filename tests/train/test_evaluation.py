"""Evaluation of a model in training: held-out text, behaviors, dead neurons."""

from __future__ import annotations

from math import log
from pathlib import Path

import pytest
import torch

from pytest_circuits.model.sparse.config import ModelConfig
from pytest_circuits.model.sparse.gpt import SparseGPT
from pytest_circuits.train.config import Evaluation, Shape, Sparsity, TrainConfig
from pytest_circuits.train.data.config import Data
from pytest_circuits.train.data.corpus import Corpus, prepare
from pytest_circuits.train.evaluation import Evaluator
from pytest_circuits.train.loop import initialise
from tests.train.conftest import Train

SHAPE = Shape(n_layer=2, d_model=32, d_head=8, d_mlp=64, max_tokens=32)
BEHAVIOR = """\
version: 1
circuit: quote
model: model
behavior:
  prompt: "{call}({quote}{word}"
  slots:
    call: {choice: [print, log, show]}
    word: {choice: [alpha, beta]}
  contrast: {quote: {'"': '")', "'": "')"}}
ablation: mean
claims: {behaves: {rate: 0.9}}
"""


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    data = Data.model_validate(
        {
            "tokenizer": {"vocab_size": 500},
            "held_out": 4,
            "sources": [{"library": {"modules": 12}}],
        }
    )
    return prepare(data, tmp_path / "tokens", base=tmp_path)


def _config(*behaviors: str, seed: int = 0) -> TrainConfig:
    evaluation = Evaluation(windows=50, behaviors=behaviors)
    return TrainConfig(
        seed=seed, shape=SHAPE, sparsity=Sparsity(density=0.1), evaluation=evaluation
    )


def _evaluator(corpus: Corpus, base: Path, *behaviors: str, seed: int = 0) -> Evaluator:
    config = _config(*behaviors, seed=seed)
    return Evaluator(config, corpus, base=base, device=torch.device("cpu"))


def _model(corpus: Corpus) -> SparseGPT:
    config = ModelConfig(vocab_size=corpus.tokenizer.vocab_size, **SHAPE.model_dump())
    model = SparseGPT(config).requires_grad_(requires_grad=False)
    for parameter in model.parameters():
        parameter.zero_()
    return model


def test_a_model_that_knows_nothing_has_the_loss_of_its_vocabulary(
    corpus: Corpus, tmp_path: Path
) -> None:
    scores = _evaluator(corpus, tmp_path).measure(_model(corpus))
    loss = scores.losses["library"]
    assert loss == pytest.approx(log(corpus.tokenizer.vocab_size), rel=1e-5)
    (source,) = corpus.sources
    tokens_per_byte = source.held_out_tokens / source.held_out_bytes
    assert scores.bits_per_byte["library"] == pytest.approx(loss / log(2) * tokens_per_byte)


def test_accuracy_is_the_share_of_prompts_whose_answer_leads(
    corpus: Corpus, tmp_path: Path
) -> None:
    (tmp_path / "quote.circuit.yaml").write_text(BEHAVIOR)
    model = _model(corpus)
    evaluator = _evaluator(corpus, tmp_path, "*.circuit.yaml")
    assert evaluator.measure(model).accuracies == {"quote": 0.0}  # a tie is no lead
    double = corpus.tokenizer.encode('print("alpha")')[-1]
    model.unembed.bias[double] = 5.0
    assert evaluator.measure(model).accuracies == {"quote": 0.5}


def test_neurons_that_no_token_lets_through_are_dead(corpus: Corpus, tmp_path: Path) -> None:
    model = _model(corpus)
    model.layers()[0][1].up.bias[:] = torch.linspace(1, 2, 64)
    scores = _evaluator(corpus, tmp_path).measure(model)
    assert scores.dead_neurons == {"0": 48, "1": 64}  # AbsTopK lets a quarter through; zeros none


def test_evaluations_do_not_depend_on_the_seed_of_the_run(corpus: Corpus, tmp_path: Path) -> None:
    model = _model(corpus)
    initialise(model, seed=0)
    torch.nn.init.ones_(model.norm.weight)
    first = _evaluator(corpus, tmp_path).measure(model)
    other = _evaluator(corpus, tmp_path, seed=9).measure(model)
    assert first.losses == other.losses


def test_behaviors_that_are_not_there_are_refused_before_training(run_train: Train) -> None:
    result = run_train(evaluation="{behaviors: [nowhere/*.circuit.yaml]}")
    assert result.exit_code == 4
    assert "matches no specification" in result.output


def test_behaviors_of_one_name_are_refused(run_train: Train, recipe: Path) -> None:
    for folder in ("one", "two"):
        recipe.with_name(folder).mkdir()
        (recipe.with_name(folder) / "quote.circuit.yaml").write_text(BEHAVIOR)
    result = run_train(evaluation="{behaviors: [one/*.yaml, two/*.yaml]}")
    assert result.exit_code == 4
    assert "have the same name" in result.output


BROKEN = BEHAVIOR.replace("'\")'", "'\") # and so on'")
TOLD = "quote.circuit.yaml:9:27: the answer '\") # and so on' is not one token after"


def test_answers_that_are_no_single_tokens_are_told_before_training(
    run_train: Train, recipe: Path
) -> None:
    for name in ("quote", "again"):
        recipe.with_name(f"{name}.circuit.yaml").write_text(BROKEN)

    result = run_train(evaluation="{behaviors: [quote.circuit.yaml, again.circuit.yaml]}")

    assert result.exit_code == 4
    assert "cannot be asked with the tokenizer of this run" in result.output
    assert TOLD in result.output
    assert TOLD.replace("quote", "again") in result.output
    assert "^^^^^" in result.output
    assert "step" not in result.output


def test_of_a_tokenizer_that_is_there_they_are_told_before_text_is_tokenised(
    run_train: Train, recipe: Path, corpus: Corpus
) -> None:
    recipe.with_name("quote.circuit.yaml").write_text(BROKEN)
    corpus.tokenizer.save(recipe.with_name("tokenizer.json"))

    result = run_train(
        evaluation="{behaviors: [quote.circuit.yaml]}",
        data="{tokenizer: {file: tokenizer.json}, sources: [{library: {modules: 12}}]}",
    )

    assert result.exit_code == 4
    assert TOLD in result.output
    assert "tokenising" not in result.output
