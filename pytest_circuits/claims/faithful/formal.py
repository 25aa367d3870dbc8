"""Formal tests of the circuit hypothesis, as measures beside a verdict.

Shi et al. 2024, "Hypothesis testing the circuit hypothesis in LLMs" (arXiv 2410.13032), section 3,
with what their published code gets wrong set right: the share of wins, and not the mean difference
of scores, is held against a half; a permutation p-value is never zero; each variable has its own
kernel width.
"""

from __future__ import annotations

import numpy as np

from pytest_circuits.claims import statistics
from pytest_circuits.claims.statistics import Floats

NEARLY_HALF = 0.1  # how far from a half the share of wins of an equivalent circuit may be
PERMUTATIONS = 999


def equivalence(whole: Floats, alone: Floats, *, tie: float) -> tuple[float, float]:
    """How often a circuit's score is above the whole model's, and how surprising that would be.

    whole, alone: scores [n] of the same prompts. Scores within `tie` count half for either. The
    p-value is that of the hypothesis that the true share is within 0.1 of a half, at its edge:
    a small one says that the circuit scores higher, or lower, as a rule.
    """
    from scipy.special import bdtr, bdtrc  # noqa: PLC0415  (loaded when a claim is decided)

    apart, n = alone - whole, len(whole)
    wins = int((apart > tie).sum()) + int((np.abs(apart) <= tie).sum()) / 2
    away = abs(wins - n / 2)
    fewest, most = np.floor(n / 2 - away + 1e-9), np.ceil(n / 2 + away - 1e-9)
    if fewest >= most:
        return wins / n, 1.0
    edge = 0.5 + NEARLY_HALF
    p = float(bdtr(fewest, n, edge)) + (float(bdtrc(most - 1, n, edge)) if most > 0 else 1.0)
    return wins / n, min(1.0, p)


def independence(x: Floats, y: Floats, *, tie: float, seed: int) -> float:
    """Permutation p-value of the hypothesis that two scores [n] of the same prompts are unrelated.

    The statistic is HSIC (Gretton et al. 2007) with Gaussian kernels whose widths are the median
    distances. Differences below `tie` are rounding and count as none. Small: related.
    """
    inner, other = _centred(_kernel(x, tie)), _kernel(y, tie)
    rng = np.random.Generator(np.random.Philox(key=seed))
    observed = float((inner * other).sum())
    reached = 0
    for _ in range(PERMUTATIONS):
        order = rng.permutation(len(x))
        reached += float((inner * other[np.ix_(order, order)]).sum()) >= observed - 1e-9
    return statistics.control_p(reached, PERMUTATIONS)


def distance_p(own: Floats, others: Floats, whole: Floats, *, far: bool) -> float:
    """How a circuit's mean squared distance from the whole model ranks among random circuits'.

    own, whole: scores of any one shape; others: those of K random circuits, [K, ...]. far: whether
    a circuit that is not random is expected to be farther from the whole model, and not nearer.
    """
    mine = float(np.square(own - whole).mean())
    theirs = np.square(others - whole).reshape(len(others), -1).mean(axis=1)  # [K]
    as_good = theirs >= mine if far else theirs <= mine
    return statistics.control_p(int(as_good.sum()), len(others))


def _kernel(values: Floats, tie: float) -> Floats:
    rounded = np.round(values / tie) * tie
    apart = np.abs(rounded[:, None] - rounded[None, :])
    width = float(np.median(apart[np.triu_indices(len(values), 1)])) or float(apart.max()) or 1.0
    kernel: Floats = np.exp(-np.square(apart / width) / 2)
    return kernel


def _centred(kernel: Floats) -> Floats:
    rows = kernel - kernel.mean(axis=0, keepdims=True)
    centred: Floats = rows - rows.mean(axis=1, keepdims=True)
    return centred
