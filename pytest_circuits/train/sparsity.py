"""Hard magnitude top-k of weights after every step, and how many stay (Gao et al. 2025, 2.1, A.2).

Progress is a share of the run: (step + 1) / steps, above 0 and up to 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import log

import torch
from torch import Tensor, nn

from pytest_circuits.model.sparse.gpt import SparseGPT
from pytest_circuits.model.sparse.selection import row_thresholds, threshold
from pytest_circuits.train.config import Sparsity
from pytest_circuits.train.distributed import multiply, whole


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
    return _annealed(progress, plan, final=plan.bias_density)


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


def largest(weight: Tensor, density: float, *, floor: int = 0, neuron_axis: int = 0) -> Tensor:
    """Mask of the floor(density * numel) largest magnitudes, and of those that tie with the last.

    The `floor` largest weights of every neuron (a row when neuron_axis is 0, a column when 1) are
    taken first and count inside the budget, so that no neuron dies of the projection alone.
    """
    k = int(density * weight.numel())
    if k >= weight.numel():
        return torch.ones_like(weight, dtype=torch.bool)
    magnitude = weight.abs()
    kept = magnitude >= threshold(magnitude, max(k, 1))
    if not floor or int(kept.sum(dim=1 - neuron_axis, dtype=torch.int32).min()) >= floor:
        return kept  # every neuron has its largest among the largest of all
    neurons = magnitude if neuron_axis == 0 else magnitude.T
    protected = neurons >= row_thresholds(neurons, min(floor, neurons.shape[1]))
    protected &= neurons > 0  # what is zero already needs no room in the budget
    protected = protected if neuron_axis == 0 else protected.T
    magnitude.masked_fill_(protected, float("inf"))
    return magnitude >= threshold(magnitude, max(k, int(protected.count_nonzero())))


@torch.no_grad()
def project(model: SparseGPT, plan: Sparsity, *, progress: float) -> None:
    """Bring every sparse parameter to its density of this moment, in place."""
    for part in _parts(model, plan, progress):
        if part.density < 1:
            mask = largest(
                whole(part.parameter), part.density, floor=part.floor, neuron_axis=part.axis
            )
            multiply(part.parameter, mask)


@torch.no_grad()
def nonzeros(model: SparseGPT) -> dict[str, int]:
    """Number of weights that are not zero in every matrix that the projection touches."""
    return {
        name: int(whole(parameter).count_nonzero())
        for name, parameter in model.named_parameters()
        if is_sparse_matrix(name, parameter)
    }


def is_sparse_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether a parameter is a matrix that is made sparse; the bigram table and positions stay."""
    return parameter.dim() == 2 and name not in {"bigram", "positions"}


@dataclass(frozen=True, slots=True)
class _Part:
    """A parameter with its density; `axis` runs over the neurons that `floor` keeps alive."""

    parameter: Tensor
    density: float
    floor: int = 0
    axis: int = 0


def _parts(model: SparseGPT, plan: Sparsity, progress: float) -> Iterator[_Part]:
    """The floor is on the neuron's side: inputs of q, k, v and MLP neurons, outputs of v and MLP.

    Gains, sinks, positions, the bigram table and the unembedding's bias stay dense.
    """
    block = density_at(progress, plan)
    bias = bias_density_at(progress, plan)
    embedding = embedding_density_at(progress, plan)
    yield _Part(model.embed.weight, embedding)
    for attn, mlp in model.layers():
        for into in (attn.q, attn.k, attn.v, mlp.up):
            yield _Part(into.weight, block, plan.min_per_neuron, axis=0)
            yield _Part(into.bias, bias)
        for out in (attn.out, mlp.down):
            yield _Part(out.weight, block, plan.min_per_neuron, axis=1)
            yield _Part(out.bias, bias)
    yield _Part(model.unembed.weight, embedding)
