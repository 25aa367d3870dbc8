"""Hard magnitude top-k of weight matrices, and the schedule of how many weights stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pytest_circuits.model.abstopk import kth_largest

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_circuits.model.gpt import SparseGPT
    from pytest_circuits.train.config import Sparsity


def density_at(progress: float, *, final: float, plan: Sparsity) -> float:
    """Share of the weights that stays at a point of the run: linear from 1 to `final`.

    progress: 0 to 1. Gao et al. 2025, appendix A.2 (the annealing runs from `anneal_start` to
    `anneal_stop`).
    """
    span = max(plan.anneal_stop - plan.anneal_start, 1e-9)
    done = min(max((progress - plan.anneal_start) / span, 0.0), 1.0)
    return 1.0 + (final - 1.0) * done


def keep_largest(weight: Tensor, density: float, *, floor: int = 0, neuron_axis: int = 0) -> None:
    """Zero all but the floor(density * numel) largest magnitudes of a matrix, in place.

    The `floor` largest weights of every neuron (a row when neuron_axis is 0, a column when 1) are
    kept first and count inside the budget, so that no neuron dies of the projection alone.
    """
    k = int(density * weight.numel())
    if k >= weight.numel():
        return
    magnitude = weight.abs()
    if floor:
        rows = magnitude if neuron_axis == 0 else magnitude.T
        floor = min(floor, rows.shape[1])
        protected = rows.contiguous() >= kth_largest(rows.contiguous(), floor)
        protected = protected if neuron_axis == 0 else protected.T
        magnitude = magnitude.masked_fill(protected, float("inf"))
        k = max(k, int(protected.sum()))
    weight *= magnitude >= kth_largest(magnitude.reshape(1, -1), max(k, 1))


@torch.no_grad()
def project(model: SparseGPT, plan: Sparsity, *, progress: float) -> float:
    """Bring every weight matrix to its density of this moment; returns the blocks' density.

    The floor runs along the neuron's own side: inputs of q, k, v channels and MLP neurons, outputs
    of value channels and MLP neurons. Biases, gains, sinks and the bigram table stay dense.
    """
    block = density_at(progress, final=plan.density, plan=plan)
    floor = plan.min_per_neuron
    for attn, mlp in model.layers():
        for into in (attn.q, attn.k, attn.v, mlp.up):
            keep_largest(into.weight, block, floor=floor, neuron_axis=0)
        for out in (attn.out, mlp.down):
            keep_largest(out.weight, block, floor=floor, neuron_axis=1)
    embedding = density_at(progress, final=plan.embedding_density, plan=plan)
    keep_largest(model.embed.weight, embedding)
    keep_largest(model.unembed.weight, embedding)
    return block


def nonzeros(model: SparseGPT) -> dict[str, int]:
    """Number of weights that are not zero in every matrix that the projection touches."""
    return {
        name: int(parameter.count_nonzero())
        for name, parameter in model.named_parameters()
        if parameter.dim() == 2 and name != "bigram"
    }
