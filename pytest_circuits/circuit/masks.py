"""Which channels keep their activation: masks made from nodes, and the one hook that mixes by them.

Letters in shapes: K circuits, B prompts, N = K * B rows of a forward (row k * B + b is circuit k on
prompt b), T tokens, D channels of a site.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.model.protocol import Hook, Model

# Of a site, and what K circuits carry there [K, B, T, D]: a value that broadcasts against it.
Of: TypeAlias = Callable[[str, Tensor], Tensor | None]


def masks_of(model: Model, circuits: Sequence[Nodes]) -> dict[str, Tensor]:
    """For every site the nodes that K circuits have there, [K, width] bool."""
    masks = {
        name: torch.zeros(len(circuits), site.width, dtype=torch.bool)
        for name, site in model.sites.items()
    }
    for row, nodes in enumerate(circuits):
        for name, channels in nodes.channels:
            if name in masks:
                masks[name][row, list(channels)] = True
    return {name: mask.to(model.device) for name, mask in masks.items()}


def over_channels(mask: Tensor, model: Model, name: str) -> Tensor:
    """What holds of each node of a site, repeated for its channels: [..., width] -> [..., D]."""
    channels = model.sites[name].channels
    return mask if channels == 1 else mask.repeat_interleave(channels, dim=-1)


def of_nodes(model: Model, masks: Mapping[str, Tensor]) -> Of:
    """Masks of nodes [K, width] by site, for every prompt and token."""

    def of(name: str, _mine: Tensor) -> Tensor | None:
        if name not in masks:
            return None
        return over_channels(masks[name], model, name)[:, None, None, :]

    return of


def given(values: Mapping[str, Tensor]) -> Of:
    """Values by site that broadcast as they are."""
    return lambda name, _mine: values.get(name)


def mixing(count: int, keep: Of, fill: Of, *, leak: float = 0.0) -> Hook:
    """A hook that keeps what `keep` says of each channel of K circuits, and fills in the rest.

    A mask of booleans passes a channel bit for bit, or not at all; one of shares mixes, and has
    gradients on either side. What has no mask, such as a gauge, is left alone. One row for all
    circuits becomes one for each.

    leak: the least share of a gradient that a channel passes on to what it is computed from, though
    it is kept to less. So a chain of nodes that are all off can come back.
    """

    def hook(name: str, x: Tensor) -> Tensor:
        mine = x.view(min(count, len(x)), -1, *x.shape[1:])  # [K, B, T, D]
        mask = keep(name, mine)
        other = fill(name, mine)
        if mask is None or other is None:
            return x
        other = other.to(x)
        if mask.dtype == torch.bool:
            return torch.where(mask, mine, other).flatten(0, 1)
        beyond = mine - other
        if not leak:
            return (other + mask * beyond).flatten(0, 1)
        passed = mask.detach().clamp(min=leak) * (beyond - beyond.detach())  # 0, with a gradient
        return (other + mask * beyond.detach() + passed).flatten(0, 1)

    return hook
