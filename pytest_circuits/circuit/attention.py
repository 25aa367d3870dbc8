"""What heads attend to: the attention of the asked token, in one run or in several at once.

Letters: N rows, T tokens, A all query channels, E channels of a head, H heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor

from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.model.protocol import Model

Head = tuple[int, int]  # its layer, and its index there


def kept_heads(nodes: Nodes, width: int) -> tuple[Head, ...]:
    """Every head of which a circuit keeps a value; width: channels of a head."""
    found = {
        (int(hook.partition(".")[0]), channel // width)
        for hook, channel in nodes
        if hook.endswith(".attn.v")
    }
    return tuple(sorted(found))


def attention_of(model: Model, layer: int, query: Tensor, keys: Tensor, at: Tensor) -> Tensor:
    """What the asked token of each row attends to: query [N, A], keys [N, T, A] -> [N, H, T].

    What a row lacks to one went to the sink.
    """
    width = model.config.d_head
    q, k = (x.view(*x.shape[:-1], -1, width) for x in (query, keys))
    scores = torch.einsum("nhe,nthe->nht", q, k) / sqrt(width)
    hidden = torch.arange(keys.shape[1], device=at.device) > at[:, None]  # [N, T]
    scores = scores.masked_fill(hidden[:, None, :], -torch.inf)
    sink = model.module.layers()[layer][0].sink
    if sink is not None:
        scores = torch.cat([scores, sink.to(scores).view(1, -1, 1).expand(len(q), -1, 1)], dim=2)
    return scores.softmax(-1)[..., : keys.shape[1]]


def whole_attention(model: Model, tokens: Tensor, at: Tensor, heads: Sequence[Head]) -> Tensor:
    """Attention of some heads in the whole model: tokens [N, T], asked at [N] -> [heads, N, T]."""
    rows = torch.arange(len(tokens), device=tokens.device)
    queries: dict[str, Tensor] = {}
    found: dict[int, Tensor] = {}

    def record(name: str, x: Tensor) -> Tensor:
        layer, _, point = name.partition(".attn.")
        if point == "q":
            queries[layer] = x[rows, at]
        if point == "k":
            found[int(layer)] = attention_of(model, int(layer), queries.pop(layer), x, at)
        return x

    model.module.visit(tokens, record)
    return torch.stack([found[layer][:, head] for layer, head in heads])
