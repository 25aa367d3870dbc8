"""How the density and the learning rate go over a run (Gao et al. 2025, A.2).

Progress is a share of the run: (step + 1) / steps, above 0 and up to 1.
"""

from __future__ import annotations

from math import cos, log, pi, sqrt

from pytest_circuits.train.config import Sparsity, TrainConfig


def density_at(progress: float, plan: Sparsity) -> float:
    """Share of the weights of a block matrix that stays: from 1 to `plan.density`.

    Linear is the paper's schedule and the released script's, whose `exponent` generalises it; the
    others are linear in log density, against time or log time.
    """
    return _annealed(progress, plan, final=plan.density)


def embedding_density_at(progress: float, plan: Sparsity) -> float:
    """Share of the weights of the embedding and the unembedding that stays.

    `late` is the schedule of the paper's own models, kept there although it was a slip: the block
    density times the ratio of the two final ones, at most 1.
    """
    if plan.embedding_anneal == "late":
        return min(1.0, density_at(progress, plan) * plan.embedding_density / plan.density)
    return _annealed(progress, plan, final=plan.embedding_density)


def bias_density_at(progress: float, plan: Sparsity) -> float:
    """Share of the entries of a bias that stays."""
    return _annealed(progress, plan, final=plan.bias_density)


def learning_rate(progress: float, config: TrainConfig) -> float:
    """Linear warm-up, then decay to zero, times the sharkfin factor if it is on.

    The factor is sqrt(final density / density): 1 at the end, small while the model is dense.
    """
    plan = config.optimizer
    if progress < plan.warmup:
        shape = progress / plan.warmup
    else:
        done = (progress - plan.warmup) / max(1 - plan.warmup, 1e-9)
        shape = {"linear": 1 - done, "cosine": (1 + cos(pi * done)) / 2, "none": 1.0}[plan.decay]
    if plan.sharkfin:
        shape *= sqrt(config.sparsity.density / density_at(progress, config.sparsity))
    return plan.lr * shape


def _annealed(progress: float, plan: Sparsity, *, final: float) -> float:
    start, stop = plan.anneal_start, plan.anneal_stop
    if progress <= start:
        return 1.0
    if progress >= stop:
        return final
    done = (progress - start) / (stop - start)
    match plan.anneal:
        case "linear" | "exponent":
            return final + (1 - final) * float((1 - done) ** plan.anneal_exponent)
        case "exponential":
            return float(final**done)
        case "log-log":
            return float(final ** (log(progress / start) / log(stop / start)))
