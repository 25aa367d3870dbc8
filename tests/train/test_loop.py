"""One step of training, held to the formulas in float64; and what a whole run does."""

from __future__ import annotations

import copy
from math import sqrt

import pytest
import torch
from torch.nn import functional as F

from pytest_circuits.model.sparse.config import ModelConfig
from pytest_circuits.model.sparse.gpt import SparseGPT
from pytest_circuits.train.config import Optimizer, Shape, Sparsity, TrainConfig
from pytest_circuits.train.descent import DivergedError
from pytest_circuits.train.distributed import World
from pytest_circuits.train.loop import (
    Step,
    Trainer,
    initialise,
    learning_rate,
)
from pytest_circuits.train.sparsity import nonzeros, project

SHAPE = Shape(d_model=32, d_head=8, d_mlp=64, max_tokens=16)
CONFIG = TrainConfig(
    steps=30, batch=8, shape=SHAPE, sparsity=Sparsity(density=0.1), optimizer=Optimizer(lr=0.01)
)
PAPER = Optimizer(lr=0.02, eps=0.1, normalise="rms", sharkfin=True, warmup=0.3)


def _trainer(config: TrainConfig) -> Trainer:
    model = SparseGPT(ModelConfig(vocab_size=20, **config.shape.model_dump()))
    initialise(model, seed=config.seed)
    return Trainer(model, config, World(torch.device("cpu")))


def _rows(config: TrainConfig, step: int) -> torch.Tensor:
    """Counting: every token is the one before plus one, so that it can be learnt."""
    generator = torch.Generator().manual_seed(1000 * config.seed + step)
    starts = torch.randint(20, (config.batch, 1), generator=generator)
    return (starts + torch.arange(config.shape.max_tokens + 1)) % 20


def _train(config: TrainConfig) -> tuple[Trainer, list[Step]]:
    trainer = _trainer(config)
    return trainer, [trainer.step(_rows(config, step)) for step in range(config.steps)]


@pytest.mark.parametrize("plan", [PAPER, Optimizer(lr=0.01)], ids=["paper", "adamw"])
def test_steps_are_those_of_the_formulas_in_float64(plan: Optimizer) -> None:
    """Normalise, Adam with decoupled decay of matrices, top-k (Gao et al. 2025, A.2)."""
    config = CONFIG.model_copy(update={"optimizer": plan, "steps": 8})
    trainer = _trainer(config)
    by_hand = copy.deepcopy(trainer.model).double()
    moments = {n: [torch.zeros_like(p), torch.zeros_like(p)] for n, p in by_hand.named_parameters()}
    for number in range(1, 5):
        rows = _rows(config, number)
        trainer.step(rows)
        by_hand.zero_grad()
        logits = by_hand(rows[:, :-1])
        F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten()).backward()  # type: ignore[no-untyped-call]
        gradients = {n: p.grad for n, p in by_hand.named_parameters() if p.grad is not None}
        square = sum(float(g.square().sum()) for g in gradients.values())
        count = sum(g.numel() for g in gradients.values())
        scale = 1 / (sqrt(square / count) + 1e-5)
        scale = scale if plan.normalise == "rms" else min(1.0, 1 / (sqrt(square) + 1e-6))
        lr = learning_rate(number / config.steps, config)
        with torch.no_grad():
            for name, parameter in by_hand.named_parameters():
                first, second = moments[name]
                gradient = gradients[name] * scale
                first.mul_(0.9).add_(0.1 * gradient)
                second.mul_(0.95).add_(0.05 * gradient.square())
                if parameter.dim() == 2 and name != "bigram":
                    parameter.mul_(1 - lr * 0.1)
                corrected = second / (1 - 0.95**number)
                step = first / (1 - 0.9**number) / (corrected.sqrt() + plan.eps)
                parameter.sub_(lr * step)
        project(by_hand, config.sparsity, progress=number / config.steps)
    for name, parameter in trainer.model.named_parameters():
        expected = by_hand.get_parameter(name).float()
        torch.testing.assert_close(parameter.detach(), expected, rtol=2e-4, atol=2e-5, msg=name)


def test_training_learns_and_ends_sparse() -> None:
    trainer, steps = _train(CONFIG)
    assert steps[-1].loss < steps[0].loss / 2
    assert steps[0].density > steps[-1].density == pytest.approx(0.1)
    assert nonzeros(trainer.model)["mlp.0.up.weight"] == int(0.1 * 32 * 64)


@pytest.mark.parametrize("plan", [PAPER, Optimizer(lr=0.01)], ids=["paper", "adamw"])
def test_training_is_a_function_of_its_configuration(plan: Optimizer) -> None:
    config = CONFIG.model_copy(update={"optimizer": plan, "steps": 8})
    first, second = (_train(config)[0].tensors() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = _train(config.model_copy(update={"seed": 1}))[0].tensors()
    assert not torch.equal(first["weights/embed.weight"], other["weights/embed.weight"])


@pytest.mark.parametrize("interrupted", [1, 7, 14])
def test_a_restored_trainer_goes_on_bit_for_bit(interrupted: int) -> None:
    config = CONFIG.model_copy(update={"steps": 15})
    uninterrupted = _train(config)[0].tensors()
    before = _trainer(config)
    for step in range(interrupted):
        before.step(_rows(config, step))
    after = _trainer(config.model_copy(update={"seed": 5}))  # other weights, which are replaced
    after.restore({n: t.clone() for n, t in before.tensors().items()}, done=interrupted)
    for step in range(interrupted, config.steps):
        after.step(_rows(config, step))
    resumed = after.tensors()
    assert all(torch.equal(uninterrupted[name], resumed[name]) for name in uninterrupted)


def test_a_loss_that_is_not_a_number_stops_with_advice() -> None:
    with pytest.raises(DivergedError, match=r"loss is nan .* at step \d+; lower optimizer.lr"):
        _train(CONFIG.model_copy(update={"optimizer": Optimizer(lr=1e30)}))


def test_low_precision_changes_little_and_keeps_the_weights_in_float32() -> None:
    exact, low = (
        _train(CONFIG.model_copy(update={"precision": precision, "steps": 10}))
        for precision in ("float32", "bfloat16")
    )
    assert low[1][-1].loss == pytest.approx(exact[1][-1].loss, rel=0.05)
    assert low[1][-1].loss != exact[1][-1].loss
    assert low[0].model.embed.weight.dtype == torch.float32
