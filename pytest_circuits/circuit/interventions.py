"""Replace ablated activations during a forward, for K circuits on B prompts at once.

Letters in shapes: K circuits, B prompts, N = K * B rows of the forward (row k * B + b is circuit k
on prompt b), T tokens, D channels of a hook point; S source and R target channels of cut weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pytest_circuits.model.protocol import Model
from pytest_circuits.model.reference import Reference
from pytest_circuits.model.sparse.gpt import Carry, Ends, Hook, Join, no_join
from pytest_circuits.spec.types import Ablation


def fill_values(
    reference: Reference, ablation: Ablation, *, picks: Tensor | None = None
) -> dict[str, Tensor]:
    """What an ablated activation becomes, by hook point; broadcasts against [K, B, T, D].

    `mean` and `zero` give [D]. `resample` gives [B, 1, D]: prompt b takes the activations that one
    token of the reference text had (row picks[b] of the bank).
    """
    match ablation:
        case Ablation.MEAN:
            return reference.mean
        case Ablation.ZERO:
            return {hook: torch.zeros_like(mean) for hook, mean in reference.mean.items()}
        case Ablation.RESAMPLE:
            if picks is None:
                raise ValueError("resample ablation needs one pick a prompt")
            return {hook: bank[picks].unsqueeze(1) for hook, bank in reference.bank.items()}


def intervene(keep: Mapping[str, Tensor], fill: Mapping[str, Tensor]) -> Hook:
    """A hook that keeps the channels of `keep` [K, D] and puts `fill` in place of the others.

    A channel that is kept passes bit for bit.
    """

    def hook(name: str, x: Tensor) -> Tensor:
        mask = keep[name]
        by_circuit = x.view(len(mask), -1, *x.shape[1:])  # [K, B, T, D]
        return torch.where(mask[:, None, None, :], by_circuit, fill[name].to(x)).flatten(0, 1)

    return hook


@dataclass(frozen=True, slots=True)
class Cut:
    """Weights between two hook points that carry the ablation's value instead of an activation."""

    sources: Tensor  # [S] different channels
    targets: Tensor  # [R] different channels
    share: Tensor  # [K, R, S] of each weight that is cut: 0 none of it, 1 all; may be learnt

    @classmethod
    def of(cls, sources: Sequence[int], targets: Sequence[int], share: Tensor) -> Cut:
        """Cut a share [K, R, S] of the weights from some channels to others."""
        indexes = (torch.tensor(c, dtype=torch.long) for c in (sources, targets))
        first, second = (index.to(share.device) for index in indexes)
        return cls(first, second, share)

    def among(self, weight: Tensor) -> Tensor:
        """The weights [R, S] that a cut is about, of those of a linear map [out, in]."""
        return weight[self.targets[:, None], self.sources]


def cut_edges(cuts: Mapping[Ends, Cut], fill: Mapping[str, Tensor]) -> Join:
    """A join that takes from each target what cut weights carry beyond the ablation's value.

    Of an activation x[j] with the ablated value f[j] and a weight w[i, j], the share s[i, j] of
    w[i, j] * (x[j] - f[j]) is taken from the target i. It is differentiable, also in the shares.
    """

    def join(ends: Ends, x: Tensor, carry: Carry, linear: nn.Linear) -> Tensor:
        y: Tensor = linear(carry(x))  # [N, T, D of the target]
        if ends not in cuts:
            return y
        cut = cuts[ends]
        count, width = len(cut.share), y.shape[-1]
        by_circuit = x.view(count, -1, *x.shape[1:])  # [K, B, T, D of the source]
        beyond = carry((by_circuit - fill[ends[0]].to(x)).flatten(0, 1))[..., cut.sources]
        taken = cut.share * cut.among(linear.weight)  # [K, R, S]
        taken = taken.new_zeros(count, width, taken.shape[-1]).index_copy(1, cut.targets, taken)
        rows, beyond = y.view(count, -1, width), beyond.view(count, -1, taken.shape[-1])
        return torch.baddbmm(rows, beyond, taken.mT, alpha=-1).view(y.shape)

    return join


def run_circuits(
    model: Model,
    tokens: Tensor,
    *,
    at: Tensor | None,
    keep: Mapping[str, Tensor],
    fill: Mapping[str, Tensor],
    cuts: Mapping[Ends, Cut] | None = None,
) -> Tensor:
    """Logits of K circuits on B prompts in one forward.

    tokens: [B, T]. at: [B], the token of each prompt whose logits are wanted, or None for all.
    keep: the channels [K, D] that are not ablated. cuts: weights between kept channels that are.
    Returns [K, B, V] or [K, B, T, V].
    """
    count = len(next(iter(keep.values())))
    rows = tokens.repeat(count, 1)
    positions = None if at is None else at.repeat(count)
    join = cut_edges(cuts, fill) if cuts else no_join
    logits: Tensor = model.module(rows, intervene(keep, fill), join=join, at=positions)
    return logits.view(count, -1, *logits.shape[1:])
