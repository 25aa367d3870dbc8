"""Run K circuits on B prompts in one forward: what they leave out is ablated, nodes and weights.

Letters in shapes as in `masks`; S source and R target channels of cut weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pytest_circuits.circuit.masks import given, mixing, of_nodes
from pytest_circuits.model.protocol import Carry, Ends, Join, Model, Shares, Wire, joined
from pytest_circuits.model.tree import Tree


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


def cut_edges(
    cuts: Mapping[Ends, Cut], fill: Mapping[str, Tensor], at: Tensor | Tree | None
) -> Join | None:
    """A join that takes from each target what cut weights carry beyond the ablation's value.

    Of an activation x[j] with the ablated value f[j] and a weight w[i, j], the share s[i, j] of
    w[i, j] * (x[j] - f[j]) is taken from the target i. It is differentiable, also in the shares.
    at: [B], the asked token of each prompt, which may be all that a wire reads; or the prompts
    themselves, of which the fill may be that of the beginnings. None where nothing is cut.
    """

    def join(ends: Ends, x: Tensor, carry: Carry, wire: Wire) -> Tensor:
        y: Tensor = wire.map(carry(x))  # [N, T, D of the target]
        if ends not in cuts:
            return y
        cut = cuts[ends]
        count, width = len(cut.share), y.shape[-1]
        by_circuit = x.view(count, -1, *x.shape[1:])  # [K, B, T, D of the source]
        # The carry is linear (attention mixes tokens), so that what is beyond the fill is carried
        # as it would be by itself.
        other = fill[ends[0]].to(x)
        if isinstance(at, Tree):
            other = at.fitting(other, x)
        elif x.shape[1] == 1:
            other = of_asked_tokens(other, at)
        beyond = carry((by_circuit - other).flatten(0, 1))[..., cut.sources]
        taken = cut.share * cut.among(wire.weight)  # [K, R, S]
        taken = taken.new_zeros(count, width, taken.shape[-1]).index_copy(1, cut.targets, taken)
        rows, beyond = y.view(count, -1, width), beyond.view(count, -1, taken.shape[-1])
        return torch.baddbmm(rows, beyond, taken.mT, alpha=-1).view(y.shape)

    return join if cuts else None


def of_asked_tokens(value: Tensor, at: Tensor | None) -> Tensor:
    """Of a value [B, T, D] that at the asked tokens, [B, 1, D]; a constant one as it is."""
    if at is None or value.dim() < 3 or value.shape[1] == 1:
        return value
    return value[torch.arange(len(at), device=at.device), at][:, None]


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
    keep: what stays of each node [K, width], as booleans or as shares that may be learnt. cuts:
    weights between kept nodes that carry the fill. Returns [K, B, V] or [K, B, T, V].
    """
    count = len(next(iter(keep.values())))
    hook = mixing(count, of_nodes(model, _differing(keep)), given(fill))
    logits = joined(
        model,
        tokens.repeat(count, 1),
        hook,
        cut_edges(cuts or {}, fill, at),
        at=None if at is None else at.repeat(count),
    )
    return logits.view(count, -1, *logits.shape[1:])


def run_tree(
    model: Model,
    tree: Tree,
    *,
    keep: Mapping[str, Tensor],
    fill: Mapping[str, Tensor],
    cuts: Mapping[Ends, Cut],
) -> Tensor:
    """Logits [K, B, V] after each prompt of a tree, of K circuits as in `run_circuits`.

    What prompts begin with alike is computed once, by a model that can. fill: [D] by site, or of
    beginnings [1, P, D], or of the prompts [1, B, D].
    """
    count = len(next(iter(keep.values())))
    if not isinstance(model, Shares):
        fill = {name: apart(x, tree) for name, x in fill.items()}
        return run_circuits(model, tree.padded, at=tree.last, keep=keep, fill=fill, cuts=cuts)
    join = cut_edges(cuts, fill, tree)
    hook = mixing(
        count,
        of_nodes(model, _differing(keep)),
        lambda name, mine: tree.fitting(fill[name], mine) if name in fill else None,
    )
    logits = model.run_shared(tree, hook, join, rows=count if join else 1)
    return logits.expand(count, -1, -1)


def apart(value: Tensor, tree: Tree) -> Tensor:
    """A value of beginnings for each token, [B, T, D]; one of prompts [B, 1, D], a constant [D]."""
    return value if value.dim() == 1 else tree.apart(value)


def _differing(keep: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The masks without those that keep everything, and in one row where all circuits are alike.

    Shares that may be learnt stay as they are.
    """
    if any(mask.dtype != torch.bool for mask in keep.values()):
        return keep
    some = {name: mask for name, mask in keep.items() if not bool(mask.all())}
    alike = {name: bool((mask == mask[0]).all()) for name, mask in some.items()}
    return {name: mask[:1] if alike[name] else mask for name, mask in some.items()}
