"""Hook points of which few channels vary: the rest is constant and folds into tables.

Letters in shapes: B prompts, Q tokens, V vocabulary, P token positions, M varying channels of the
residual stream, S features that a hook point is computed from, C channels of it that are computed.
K circuits within one (`family`) put one more dimension in front of B, which no shape here names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pytest_circuits.model.sparse.gpt import SparseGPT, only, unmoved
from pytest_circuits.model.sparse.rmsnorm import EPS
from pytest_circuits.model.sparse.selection import row_thresholds

_TOKENS = 4096  # of the vocabulary at a time: the whole stream at each is D numbers


@dataclass(frozen=True, slots=True)
class Stream:
    """The residual stream at some tokens: all of it that is not a function of the token alone."""

    tokens: Tensor  # [B, Q] ids
    places: Tensor  # [B, Q] or [1, Q], position in the prompt
    values: Tensor  # [B, Q, M]

    def only(self, at: Tensor) -> Stream:
        """The stream at one token of each prompt, at: [B]."""
        return Stream(self.tokens.gather(1, at[:, None]), at[:, None], only(self.values, at))


@dataclass(frozen=True, slots=True)
class Gate:
    """Which kept channels of a hook point each of K circuits has; the others are constant."""

    on: Tensor  # [K, 1, 1, kept] bool
    fill: Tensor  # [kept]

    def __call__(self, kept: Tensor) -> Tensor:
        """[B, Q, kept] or one for each circuit -> [K, B, Q, kept]."""
        return torch.where(self.on, kept, self.fill)


def _gated(gate: Gate | None, kept: Tensor) -> Tensor:
    return kept if gate is None else gate(kept)


@dataclass(frozen=True, slots=True)
class Cut:
    """AbsTopK over channels most of which are constant.

    The k-th largest magnitude of all D channels is a magnitude that varies, or one of a window of
    the sorted constant ones: those before the window are larger whatever the others do.
    """

    window: Tensor  # [R, W] magnitudes of constants; row r for one token, or one position
    rank: int  # of the threshold among the window and what varies

    @classmethod
    def among(cls, constants: Tensor, *, varying: int, share: float) -> Cut | None:
        """The cut of `varying` channels beside constant ones [R, D - varying]; None: no cut."""
        width = constants.shape[-1] + varying
        k = max(1, int(share * width))
        if k >= width:
            return None
        certain = max(0, k - varying - 1)
        ordered = constants.abs().sort(dim=-1, descending=True).values
        return cls(ordered[:, certain:k].contiguous(), k - certain)

    def thresholds(self, varying: Tensor, window: Tensor) -> Tensor:
        """Least magnitude that is kept, [..., 1], given the row of the window of each."""
        window = window.expand(*varying.shape[:-1], -1)
        return row_thresholds(torch.cat([window, varying], dim=-1), self.rank)


@dataclass(frozen=True, slots=True)
class Read:
    """What a sublayer reads at its kept `act_in` channels, norm and AbsTopK included."""

    width: int  # d_model
    gain: Tensor  # [M] the norm's weight at the varying channels
    square: Tensor  # [V] sum of squares over the constant channels
    cut: Cut | None  # its window belongs to the token and is not yet scaled
    rows: Tensor | None  # [P, d_positions] concatenated positions, normed
    kept: tuple[int, ...]  # [S] channels of `act_in`
    take: Tensor  # [S] where they are among the varying ones, then the positions
    gate: Gate | None = None

    @classmethod
    def of(
        cls,
        base: Callable[[Tensor], Tensor],
        *,
        vocabulary: int,
        varying: Sequence[int],
        weight: Tensor,
        rows: Tensor | None,
        kept: Sequence[int],
        share: float,
    ) -> Read:
        """Fold the constant channels of `base`, which gives the stream [N, D] of N token ids."""
        width = len(weight)
        constant = _others(varying, width, weight.device)
        tail = 0 if rows is None else rows.shape[1]
        squares, windows, rank = [], [], None
        for ids in torch.split(torch.arange(vocabulary, device=weight.device), _TOKENS):
            values = base(ids)[:, constant]  # [N, D - M]
            squares.append(values.square().sum(-1))
            cut = Cut.among(values * weight[constant], varying=len(varying) + tail, share=share)
            if cut is not None:
                windows.append(cut.window)
                rank = cut.rank
        order = [*varying, *range(width, width + tail)]
        return cls(
            width=width,
            gain=weight[list(varying)],
            square=torch.cat(squares),
            cut=None if rank is None else Cut(torch.cat(windows), rank),
            rows=rows,
            kept=tuple(kept),
            take=torch.tensor([order.index(c) for c in kept], device=weight.device).long(),
        )

    def __call__(self, stream: Stream) -> Tensor:
        """[B, Q, S]."""
        values = stream.values
        square = self.square[stream.tokens] + values.square().sum(-1)  # [B, Q]
        scale = (square / self.width + EPS).rsqrt().unsqueeze(-1)
        normed = values * scale * self.gain  # [B, Q, M]
        if self.rows is not None:
            rows = self.rows[stream.places].expand(*normed.shape[:-1], -1)
            normed = torch.cat([normed, rows], dim=-1)
        kept = normed[..., self.take]
        if self.cut is not None:
            thresholds = self.cut.thresholds(normed, self.cut.window[stream.tokens] * scale)
            kept = kept * (kept.abs() >= thresholds)
        return _gated(self.gate, kept)


@dataclass(frozen=True, slots=True)
class Projection:
    """The kept channels of a hook point that a linear map computes, AbsTopK included."""

    weight: Tensor  # [S, C]
    bias: Tensor  # [R, C], the constant inputs folded in; a row for each position, or one
    cut: Cut | None
    computed: tuple[int, ...]  # [C] channels of the hook point: the kept ones, and those that vary
    kept: tuple[int, ...]  # channels of the hook point
    take: Tensor  # where they are among the computed ones
    function: Callable[[Tensor], Tensor]
    gate: Gate | None = None

    @classmethod
    def of(
        cls,
        columns: Tensor,
        constant: Tensor,
        *,
        kept: Sequence[int],
        share: float,
        function: Callable[[Tensor], Tensor] = unmoved,
    ) -> Projection:
        """Fold `function(columns @ features + constant)`: columns [D, S], constant [R, D].

        Channels that no feature reaches are constant; they matter for the cut alone.
        """
        width, device = len(columns), columns.device
        reached = set((columns != 0).any(dim=1).nonzero().flatten().tolist())
        computed = sorted(reached | set(kept))
        rest = function(constant[:, _others(computed, width, device)])
        cut = Cut.among(rest, varying=len(computed), share=share) if kept else None
        if cut is None:
            computed = list(kept)
        return cls(
            weight=columns[computed].T.contiguous(),
            bias=constant[:, computed].contiguous(),
            cut=cut,
            computed=tuple(computed),
            kept=tuple(kept),
            take=torch.tensor([computed.index(c) for c in kept], device=device).long(),
            function=function,
        )

    def coefficients(self) -> Tensor:
        """Weights from features to kept channels, [S, kept]."""
        return self.weight[:, self.take]

    def constants(self, place: int = 0) -> Tensor:
        """What is added to the kept channels at a position, [kept]."""
        return self.bias[min(place, len(self.bias) - 1), self.take]

    def __call__(self, features: Tensor, places: Tensor | None = None) -> Tensor:
        """The kept channels [B, Q, kept] from features [B, Q, S]."""
        bias = self.bias if places is None else self.bias[..., places, :]
        values = self.function(features @ self.weight + bias)
        kept = values[..., self.take]
        if self.cut is not None:
            window = self.cut.window if places is None else self.cut.window[places]
            kept = kept * (kept.abs() >= self.cut.thresholds(values, window))
        return _gated(self.gate, kept)


@dataclass(frozen=True, slots=True)
class Readout:
    """From the kept `final_resid` channels to logits, the last norm included."""

    width: int  # d_model
    kept: tuple[int, ...]  # channels of `final_resid`
    take: Tensor  # [kept] which of the varying channels they are
    square: float  # sum of squares over the constant channels
    weight: Tensor  # [V, kept]
    constant: Tensor  # [V] what the constant channels add, before the norm's scale
    bias: Tensor  # [V]
    bigram: Tensor | None  # [tokens of prompts, V]
    gate: Gate | None = None

    @classmethod
    def of(
        cls,
        module: SparseGPT,
        kept: Sequence[int],
        fill: Tensor,
        *,
        varying: Sequence[int],
        vocabulary: Tensor | None = None,
    ) -> Readout:
        """Fold the unembedding; `fill` is what the channels that are not kept become.

        vocabulary: ids of the only tokens that will stand in prompts; None: all.
        """
        bigram = module.bigram
        constant = fill.clone()
        constant[list(kept)] = 0
        weight = module.unembed.weight * module.norm.weight  # [V, D]
        return cls(
            width=module.config.d_model,
            kept=tuple(kept),
            take=torch.tensor([varying.index(c) for c in kept], device=fill.device).long(),
            square=float(constant.square().sum()),
            weight=weight[:, list(kept)],
            constant=weight @ constant,
            bias=module.unembed.bias,
            bigram=bigram if bigram is None or vocabulary is None else bigram[vocabulary],
        )

    def logits(self, stream: Stream) -> Tensor:
        """[B, Q, V]."""
        kept, scale = self._kept(stream)
        logits = scale * (kept @ self.weight.T + self.constant) + self.bias
        return logits if self.bigram is None else logits + self.bigram[stream.tokens]

    def preferences(self, stream: Stream, choices: Tensor) -> Tensor:
        """Logits of the tokens `choices` [B, 2] after the one token of each prompt: [B, 2]."""
        kept, scale = self._kept(stream)
        read = (self.weight[choices] * kept).sum(-1) + self.constant[choices]  # [B, 2]
        logits = scale.squeeze(-1) * read + self.bias[choices]
        return logits if self.bigram is None else logits + self.bigram[stream.tokens, choices]

    def _kept(self, stream: Stream) -> tuple[Tensor, Tensor]:
        kept = _gated(self.gate, stream.values[..., self.take])  # [B, Q, kept]
        square = self.square + kept.square().sum(-1, keepdim=True)
        return kept, (square / self.width + EPS).rsqrt()


def _others(chosen: Sequence[int], width: int, device: torch.device) -> Tensor:
    """Channels that are not chosen, as a mask [width]."""
    mask = torch.ones(width, dtype=torch.bool, device=device)
    mask[list(chosen)] = False
    return mask
