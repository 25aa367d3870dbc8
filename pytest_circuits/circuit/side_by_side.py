"""Run circuits beside the whole model in one forward, so that each can be held against it.

The first circuit of the forward is the whole model. What it carries at a hook point, or divides by
at a norm, is at hand for the others in the same rows: their nodes can be given its values, and
their norms its scales. Letters as in `interventions` and `attention`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pytest_circuits.circuit.attention import attention_of
from pytest_circuits.circuit.interventions import Cut, cut_edges, intervene
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.model.protocol import Model
from pytest_circuits.model.sparse.gpt import Ends, Hook, no_join
from pytest_circuits.model.sparse.rmsnorm import EPS, RMSNorm


@dataclass(frozen=True, slots=True)
class Seen:
    """What the first two circuits of a forward, the whole model and another, carried.

    nodes: by hook point [2, B, T or 1, channels], the kept channels alone. weights: by layer the
    attention of the asked token, [2, B, H, T]; what is missing to one went to the sink.
    """

    nodes: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[int, Tensor] = field(default_factory=dict)


def run_beside(
    model: Model,
    tokens: Tensor,
    *,
    at: Tensor,
    keep: Mapping[str, Tensor],
    fill: Mapping[str, Tensor],
    cuts: Mapping[Ends, Cut],
    taken: Mapping[str, Tensor],
    frozen: Sequence[bool],
    record: Nodes,
) -> tuple[Tensor, Seen]:
    """Logits [K, B, V] of K circuits, the first of which keeps everything.

    tokens: [B, T]. at: [B] the asked token of each prompt. keep, taken: [K, D] by hook point, the
    channels that are not ablated, and those that get the first circuit's values. frozen: the
    circuits whose norms divide by the first one's scales. record: the nodes to remember.
    """
    seen = Seen()
    hook = _recording(_taking(intervene(keep, fill), taken), model, at, record, seen)
    count = len(frozen)
    join = cut_edges(cuts, fill) if cuts else no_join
    with _frozen_norms(model, frozen):
        logits: Tensor = model.module(tokens.repeat(count, 1), hook, join=join, at=at.repeat(count))
    return logits.view(count, -1, logits.shape[-1]), seen


def _taking(ablate: Hook, taken: Mapping[str, Tensor]) -> Hook:
    """A hook that ablates, then puts the first circuit's values where they are to be taken."""

    def hook(name: str, x: Tensor) -> Tensor:
        x = ablate(name, x)
        mask = taken[name]
        if not bool(mask.any()):
            return x
        by_circuit = x.view(len(mask), -1, *x.shape[1:])  # [K, B, T, D]
        return torch.where(mask[:, None, None, :], by_circuit[:1], by_circuit).flatten(0, 1)

    return hook


def _recording(inner: Hook, model: Model, at: Tensor, record: Nodes, seen: Seen) -> Hook:
    """A hook that remembers what the first two circuits carry, after what `inner` does to it."""
    queries: dict[str, Tensor] = {}
    rows = torch.arange(2 * len(at), device=at.device)
    asked = at.repeat(2)

    def hook(name: str, x: Tensor) -> Tensor:
        x = inner(name, x)
        first = x[: 2 * len(at)]
        channels = list(record.at(name))
        if channels:
            seen.nodes[name] = first[..., channels].view(2, len(at), -1, len(channels))
        layer, _, point = name.partition(".attn.")
        if point == "q":
            queries[layer] = first[rows, asked] if first.shape[1] > 1 else first[:, 0]  # [2B, A]
        if point == "k":
            weights = attention_of(model, int(layer), queries.pop(layer), first, asked)
            seen.weights[int(layer)] = weights.view(2, len(at), *weights.shape[1:])
        return x

    return hook


@contextmanager
def _frozen_norms(model: Model, frozen: Sequence[bool]) -> Iterator[None]:
    """Let some circuits divide by the scales of the first, as long as the context is open."""
    chosen = torch.tensor(frozen, device=model.device)[:, None, None, None]

    def freeze(norm: RMSNorm, inputs: tuple[Tensor], normed: Tensor) -> Tensor:
        x = inputs[0].view(len(frozen), -1, *inputs[0].shape[1:])  # [K, B, T, D]
        scale = (x[:1].square().mean(-1, keepdim=True) + EPS).rsqrt()
        scaled = x * scale * norm.weight
        return torch.where(chosen, scaled, normed.view_as(x)).flatten(0, 1)

    norms = [sublayer.norm for pair in model.module.layers() for sublayer in pair]
    handles = [
        norm.register_forward_hook(freeze) for norm in (*norms, model.module.norm) if any(frozen)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
