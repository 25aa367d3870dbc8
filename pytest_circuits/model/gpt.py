"""The weight-sparse GPT: pre-norm RMSNorm blocks with AbsTopK at eight hook points a layer.

Architecture of Gao et al. 2025 (section 2.1, appendix A.1): untied embeddings, biases, no position
information, optional attention sinks, a dense bigram table added to the logits. Hook points carry
the names of the published models; the value at a hook point is taken after AbsTopK.

Letters in shapes: N rows, T tokens, D d_model, F d_mlp, H heads, E d_head, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pytest_circuits.model.abstopk import abs_top_k

if TYPE_CHECKING:
    from pytest_circuits.model.config import ModelConfig

Hook = Callable[[str, Tensor], Tensor]  # (hook point, activation [N, T, width]) -> replacement


def no_hook(_name: str, x: Tensor) -> Tensor:
    """Leave every activation as it is."""
    return x


class Attention(nn.Module):
    """Causal attention with small heads, read and written through the residual stream."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.name = f"{layer}.attn"
        self.n_head, self.d_head = config.n_head, config.d_head
        self.share = config.activation_share
        self.norm = nn.RMSNorm(config.d_model)
        self.q = nn.Linear(config.d_model, config.d_model)
        self.k = nn.Linear(config.d_model, config.d_model)
        self.v = nn.Linear(config.d_model, config.d_model)
        self.out = nn.Linear(config.d_model, config.d_model)
        self.sink = nn.Parameter(torch.zeros(config.n_head)) if config.sinks else None

    def forward(self, resid: Tensor, hook: Hook) -> Tensor:
        """What the heads add to the residual stream [N, T, D]."""

        def at(point: str, x: Tensor) -> Tensor:
            return hook(f"{self.name}.{point}", abs_top_k(x, self.share))

        x = at("act_in", self.norm(resid))
        q, k, v = (
            self._heads(at(point, linear(x)))
            for point, linear in (("q", self.q), ("k", self.k), ("v", self.v))
        )
        mixed = self._attend(q, k) @ v  # [N, H, T, E]
        return at("resid_delta", self.out(mixed.transpose(1, 2).flatten(2)))  # [N, T, D]

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.n_head, self.d_head).transpose(1, 2)  # [N, H, T, E]

    def _attend(self, q: Tensor, k: Tensor) -> Tensor:
        """Attention pattern [N, H, T, T]; with a sink its rows may sum to less than one."""
        scores = q @ k.transpose(-1, -2) / sqrt(self.d_head)
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(future, float("-inf"))
        if self.sink is None:
            return scores.softmax(dim=-1)
        sink = self.sink.view(1, -1, 1, 1).expand(*scores.shape[:-1], 1)
        return torch.cat([sink, scores], dim=-1).softmax(dim=-1)[..., 1:]


class Mlp(nn.Module):
    """One hidden layer of neurons, read and written through the residual stream."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.name = f"{layer}.mlp"
        self.share = config.activation_share
        self.norm = nn.RMSNorm(config.d_model)
        self.up = nn.Linear(config.d_model, config.d_mlp)
        self.down = nn.Linear(config.d_mlp, config.d_model)
        self.nonlinearity = F.gelu if config.activation == "gelu" else F.relu

    def forward(self, resid: Tensor, hook: Hook) -> Tensor:
        """What the neurons add to the residual stream [N, T, D]."""

        def at(point: str, x: Tensor) -> Tensor:
            return hook(f"{self.name}.{point}", abs_top_k(x, self.share))

        x = at("act_in", self.norm(resid))
        neurons = at("post_act", self.nonlinearity(self.up(x)))  # [N, T, F]
        return at("resid_delta", self.down(neurons))  # [N, T, D]


class SparseGPT(nn.Module):
    """Tokens in, next-token logits out, with every hook point open to a replacement."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        # Not drawn at random here: on the meta device that imports torch's compiler, a second.
        zeros = torch.zeros(config.vocab_size, config.d_model)
        self.embed = nn.Embedding.from_pretrained(zeros, freeze=False)  # type: ignore[no-untyped-call]
        self.attn = nn.ModuleList(Attention(config, layer) for layer in range(config.n_layer))
        self.mlp = nn.ModuleList(Mlp(config, layer) for layer in range(config.n_layer))
        self.norm = nn.RMSNorm(config.d_model)
        self.unembed = nn.Linear(config.d_model, config.vocab_size)
        self.bigram = (
            nn.Parameter(torch.zeros(config.vocab_size, config.vocab_size))
            if config.bigram
            else None
        )

    def layers(self) -> list[tuple[Attention, Mlp]]:
        """The sublayers of each layer, in forward order."""
        return [
            (cast("Attention", attn), cast("Mlp", mlp))
            for attn, mlp in zip(self.attn, self.mlp, strict=True)
        ]

    def forward(self, tokens: Tensor, hook: Hook = no_hook, *, at: Tensor | None = None) -> Tensor:
        """Logits after each token.

        tokens: [N, T] ids. at: [N] index of one token a row, or None for all of them. Returns
        [N, V] or [N, T, V]. Tokens right of a position never influence it, so right-padding with
        any id changes nothing.
        """
        resid = self.embed(tokens)  # [N, T, D]
        for attn, mlp in self.layers():
            resid = resid + attn(resid, hook)
            resid = resid + mlp(resid, hook)
        resid = hook("final_resid", resid)
        if at is not None:
            rows = torch.arange(len(tokens), device=tokens.device)
            resid, tokens = resid[rows, at], tokens[rows, at]
        logits: Tensor = self.unembed(self.norm(resid))
        return logits if self.bigram is None else logits + self.bigram[tokens]
