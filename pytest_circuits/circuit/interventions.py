"""Replace ablated activations during a forward, for K circuits on B prompts at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pytest_circuits.spec import Ablation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from pytest_circuits.model import Model, Reference
    from pytest_circuits.model.gpt import Hook


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

    The rows of the forward are circuit-major: row k * B + b is circuit k on prompt b. A channel
    that is kept passes bit for bit.
    """

    def hook(name: str, x: Tensor) -> Tensor:
        mask = keep[name]
        by_circuit = x.view(len(mask), -1, *x.shape[1:])  # [K, B, T, D]
        return torch.where(mask[:, None, None, :], by_circuit, fill[name].to(x)).flatten(0, 1)

    return hook


def run_circuits(
    model: Model,
    tokens: Tensor,
    *,
    at: Tensor | None,
    keep: Mapping[str, Tensor],
    fill: Mapping[str, Tensor],
) -> Tensor:
    """Logits of K circuits on B prompts in one forward.

    tokens: [B, T]. at: [B], the token of each prompt whose logits are wanted, or None for all.
    Returns [K, B, V] or [K, B, T, V].
    """
    count = len(next(iter(keep.values())))
    rows = tokens.repeat(count, 1)
    positions = None if at is None else at.repeat(count)
    logits: Tensor = model.module(rows, intervene(keep, fill), at=positions)
    return logits.view(count, -1, *logits.shape[1:])
