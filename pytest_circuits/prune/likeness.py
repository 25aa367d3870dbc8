"""How alike a circuit alone and the whole model are inside, differentiable in the circuit's mask.

What the claim `faithful` sees beside the whole model (`circuit/inside.py`): what nodes carry, where
heads attend, and what is left of the behavior with the norm scales of the whole model.

Letters in shapes: K searches, P prompts of each, T tokens, D nodes of a site.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pytest_circuits.circuit.attention import of_asked, patterns, shows_attention
from pytest_circuits.circuit.masks import given, mixing, of_nodes, over_channels
from pytest_circuits.model.protocol import Kind, Model, Shows, gauges_of, sites_of
from pytest_circuits.prune.pool import Prompts

_SILENCE = 1e-12  # the square of a signal that is none
_LEAK = 0.3  # of a gradient through a node that is off: where a head looks takes a query, a key
# and what both are computed from, and none of them helps without the others
_FAINT = 0.05  # of a signal in the whole model: one that is smaller alone has no direction


@dataclass(frozen=True, slots=True)
class Likeness:
    """How K circuits are inside, beside the whole model.

    frozen: margins [K, P] with the norm scales of the whole model. attention: [K, heads], how far
    the attention of kept heads is from the whole model's, in total variation; 0 for the others.
    correlation: [K], of what the nodes carry, in the mean weighted by effects.
    """

    frozen: Tensor
    attention: Tensor
    correlation: Tensor


def likeness(
    model: Model, fill: Mapping[str, Tensor], on: Mapping[str, Tensor], prompts: Prompts
) -> Likeness:
    """How K circuits, masks [K, D] by site, are beside the whole model."""
    circuits, rows, length = prompts.tokens.shape
    tokens, last = prompts.tokens.flatten(0, 1), prompts.last.flatten()
    scales = gauges_of(model, Shows.SCALE)
    heads = patterns(model) if shows_attention(model) else {}
    gauges = (*heads, *scales)
    whole, effects = _whole(model, fill, prompts, gauges)
    alone: dict[str, Tensor] = {}
    twice = {name: torch.cat([mask, mask]) for name, mask in on.items()}
    ablate = mixing(2 * circuits, of_nodes(model, twice), given(fill), leak=_LEAK)

    def hook(name: str, x: Tensor) -> Tensor:
        if name in scales:  # the second half multiplies by the whole model's
            return torch.cat([x[: len(last)], whole[name]])
        x = ablate(name, x)
        alone[name] = x[: len(last)]
        return x

    logits = model.run(tokens.repeat(2, 1), hook, at=last.repeat(2), gauges=gauges)[len(last) :]
    answer, foil = logits.gather(-1, prompts.choices.flatten(0, 1)).unbind(-1)
    real = torch.arange(length, device=last.device) <= last[:, None]  # [K * P, T]
    apart = [
        _distances(of_asked(whole[name], last), of_asked(alone[name], last), real)
        .view(circuits, rows, -1)
        .mean(1)
        * _kept(model, on, gauge.layer)
        for name, gauge in heads.items()
    ]
    shares = alike = logits.new_zeros(circuits)
    for name, mask in on.items():
        kept = (mask > 0).any(0).nonzero().flatten()  # by any of the circuits
        if not len(kept):
            continue
        weights = mask[:, kept] * effects[name][:, kept]
        channels = over_channels((mask > 0).any(0), model, name)
        seen = (
            ((x[name] - fill[name].to(x[name])) * real[:, : x[name].shape[1], None])[..., channels]
            for x in (whole, alone)
        )
        shape = (circuits, -1, len(kept), model.sites[name].channels)
        shares = shares + weights.sum(1)
        alike = alike + (weights * _cosines(*(x.reshape(shape) for x in seen))).sum(1)
    return Likeness(
        frozen=(answer - foil).view(circuits, rows),
        attention=torch.cat(apart, dim=1) if apart else logits.new_zeros(circuits, 0),
        correlation=alike / shares.clamp(min=_SILENCE),
    )


def _whole(
    model: Model, fill: Mapping[str, Tensor], prompts: Prompts, gauges: Collection[str]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What the whole model carries at each site and gauge, and how much each node does in it.

    Effects: [K, D] by site, sizes of what ablating a node does to the mean margin, to first order.
    """
    on = {
        name: torch.ones(len(prompts.tokens), site.width, device=model.device, requires_grad=True)
        for name, site in model.sites.items()
    }
    mix, seen = mixing(len(prompts.tokens), of_nodes(model, on), given(fill)), {}

    def hook(name: str, x: Tensor) -> Tensor:
        x = mix(name, x)
        seen[name] = x.detach()
        return x

    tokens, last = prompts.tokens.flatten(0, 1), prompts.last.flatten()
    logits = model.run(tokens, hook, at=last, gauges=gauges)
    answer, foil = logits.gather(-1, prompts.choices.flatten(0, 1)).unbind(-1)
    margins = (answer - foil).view(prompts.last.shape).mean(1)
    slopes = torch.autograd.grad(margins.sum(), [*on.values()], allow_unused=True)
    return seen, {
        name: torch.zeros_like(mask) if slope is None else slope.abs()
        for (name, mask), slope in zip(on.items(), slopes, strict=True)
    }


def _kept(model: Model, on: Mapping[str, Tensor], layer: int | None) -> Tensor:
    """1 for each head of a layer that a circuit keeps a value of, else 0: [K, heads]."""
    return torch.stack([*_values(model, on, layer)]).amax(0)


def _values(model: Model, on: Mapping[str, Tensor], layer: int | None) -> Iterator[Tensor]:
    for name, site in sites_of(model, Kind.VALUE, Kind.HEAD).items():
        if site.layer == layer:
            mask = on[name]
            yield mask if site.kind is Kind.HEAD else mask.view(len(mask), -1, site.head).amax(2)


def _distances(whole: Tensor, alone: Tensor, real: Tensor) -> Tensor:
    """Total variation between attentions [N, H, T], of which the rest went to the sink: [N, H]."""
    sink = (whole.sum(2) - alone.sum(2)).abs()
    found: Tensor = (((whole - alone).abs() * real[:, None]).sum(2) + sink) / 2
    return found


def _cosines(whole: Tensor, alone: Tensor) -> Tensor:
    """How alike what nodes carry is, [K, rows and tokens, nodes, channels] twice -> [K, nodes]."""
    both, one, other = (
        torch.einsum("knci,knci->kc", a, b)
        for a, b in ((whole, alone), (whole, whole), (alone, alone))
    )
    size = torch.maximum((one * other + _SILENCE).sqrt(), _FAINT * one + _SILENCE)
    return both.relu() / size
