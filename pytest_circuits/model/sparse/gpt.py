"""The weight-sparse GPT: pre-norm RMSNorm blocks with AbsTopK at eight hook points a layer.

Architecture of Gao et al. 2025 (section 2.1, appendix A.1): untied embeddings, biases, no position
information by default, optional attention sinks, a dense bigram table added to the logits. Hook
points carry the names of the published models; the value at a hook point is taken after AbsTopK.

Letters in shapes: N rows, T tokens, D d_model, I d_in, F d_mlp, H heads, E d_head, A = H * E,
V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pytest_circuits.model.protocol import Carry, Ends, Hook, Join, Wire
from pytest_circuits.model.sparse.config import ModelConfig
from pytest_circuits.model.sparse.rmsnorm import RMSNorm
from pytest_circuits.model.sparse.selection import abs_top_k
from pytest_circuits.model.tree import Tree


@dataclass(frozen=True, slots=True)
class Access:
    """What a caller sees and replaces in one forward; nothing where it asks for nothing."""

    hook: Hook | None = None
    join: Join | None = None
    gauges: frozenset[str] = frozenset()

    def at(self, name: str, x: Tensor) -> Tensor:
        """What holds at a hook point or a gauge."""
        return x if self.hook is None else self.hook(name, x)

    def map(self, ends: Ends, x: Tensor, carry: Carry, linear: nn.Linear) -> Tensor:
        """What a linear map gives for activations x at its source."""
        if self.join is None:
            y: Tensor = linear(carry(x))
            return y
        return self.join(ends, x, carry, Wire(linear.weight, linear))


NOTHING = Access()


def normed(x: Tensor, norm: RMSNorm, gauge: str, access: Access) -> Tensor:
    """Normalise [N, T, D]; the scale [N, T, 1] is given to a hook that asks for it."""
    if gauge not in access.gauges:
        found: Tensor = norm(x)
        return found
    return x * access.at(gauge, norm.scale(x)) * norm.weight


def only(x: Tensor, at: Tensor) -> Tensor:
    """One token of each row: [..., N, T, D] and its index [N] -> [..., N, 1, D]."""
    return x[..., torch.arange(len(at), device=at.device), at, :].unsqueeze(-2)


def _asked(x: Tensor, at: Tensor | None, tree: Tree | None) -> Tensor:
    """What holds at the asked tokens alone, or at all of them where none are asked."""
    if at is None:
        return x
    return only(x, at) if tree is None else x[:, tree.ends]


def unmoved(x: Tensor) -> Tensor:
    return x


class _Sublayer(nn.Module):
    """What attention and MLP share: how they read the residual stream, and their hook points."""

    def __init__(self, config: ModelConfig, layer: int, kind: str) -> None:
        super().__init__()
        self.config, self.layer, self.kind = config, layer, kind
        self.norm = RMSNorm(config.d_model)
        self.position_norm = RMSNorm(config.d_positions) if config.d_positions else None

    def at(self, point: str, x: Tensor, access: Access) -> Tensor:
        """An activation at one of the sublayer's hook points: cut by AbsTopK, then replaced."""
        name = f"{self.kind}.{point}"
        return access.at(f"{self.layer}.{name}", abs_top_k(x, self.config.share_at(name)))

    def ends(self, source: str, target: str) -> Ends:
        """Two of the sublayer's hook points, by their full names."""
        return f"{self.layer}.{self.kind}.{source}", f"{self.layer}.{self.kind}.{target}"

    def read(self, resid: Tensor, positions: Tensor | None, access: Access) -> Tensor:
        """The sublayer's input [N, T, I], at `act_in`."""
        x = normed(resid, self.norm, f"{self.layer}.{self.kind}.scale", access)  # [N, T, D]
        if positions is not None and self.position_norm is not None:
            rows = self.position_norm(positions).to(x.dtype).expand(len(x), -1, -1)
            x = torch.cat([x, rows], dim=-1)
        return self.at("act_in", x, access)

    def add(self, resid: Tensor, delta: Tensor) -> Tensor:
        """The residual stream after the sublayer [N, T, D]."""
        return abs_top_k(resid + delta, self.config.share_at(f"{self.kind}.resid"))


class Attention(_Sublayer):
    """Causal attention with small heads, read and written through the residual stream."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__(config, layer, "attn")
        self.q = nn.Linear(config.d_in, config.d_attn)
        self.k = nn.Linear(config.d_in, config.d_attn)
        self.v = nn.Linear(config.d_in, config.d_attn)
        self.out = nn.Linear(config.d_attn, config.d_model)
        self.sink = nn.Parameter(torch.zeros(config.n_head)) if config.sinks else None

    def forward(
        self,
        resid: Tensor,
        positions: Tensor | None,
        access: Access,
        at: Tensor | None = None,
        tree: Tree | None = None,
    ) -> Tensor:
        """The residual stream with what the heads add to it: [N, T, D], or at one token [N, 1, D].

        at: [N] the only token of each row whose stream is wanted; keys and values are of all.
        tree: of which the stream holds the beginnings [K, P, D]; with `at` the ends [K, B, D].
        """
        x = self.read(resid, positions, access)
        asked = _asked(x, at, tree)
        q, k, v = (
            self.at(point, access.map(self.ends("act_in", point), read, unmoved, linear), access)
            for point, read, linear in (("q", asked, self.q), ("k", x, self.k), ("v", x, self.v))
        )

        if tree is None:
            mix = self._mixing(q, k, access, at)
        else:
            rows = max(len(x) for x in (q, k, v))
            q, k, v = (x.expand(rows, -1, -1) for x in (q, k, v))
            mix = self._mixing_beginnings(tree, q, k, access, at)
        delta = access.map(self.ends("v", "resid_delta"), v, mix, self.out)
        return self.add(_asked(resid, at, tree), self.at("resid_delta", delta, access))

    def _mixing(self, q: Tensor, k: Tensor, access: Access, at: Tensor | None) -> Carry:
        """From values [N, T, A] to what the heads make of them, [N, T or 1, A]."""
        attend = self._attention(self._heads(q), self._heads(k), access, at)
        return lambda v: attend(self._heads(v)).transpose(1, 2).flatten(2)

    def _mixing_beginnings(
        self, tree: Tree, q: Tensor, k: Tensor, access: Access, at: Tensor | None
    ) -> Carry:
        """The same of beginnings, [K, P, A] -> [K, P or B, A]; each prompt attends by itself."""
        at = None if at is None else at.repeat(len(k))
        mix = self._mixing(tree.apart(q), tree.apart(k), access, at)
        return lambda v: tree.together(mix(tree.apart(v)))

    def _attention(self, q: Tensor, k: Tensor, access: Access, at: Tensor | None) -> Carry:
        """From values to what the heads make of them, both [N, H, T, E].

        Where the pattern is asked for it is made once, and not by the fused kernel.
        """
        gauge = f"{self.layer}.attn.pattern"
        if gauge not in access.gauges:
            return lambda v: _attend(q, k, v, self.sink, at)
        pattern = access.at(gauge, _pattern(q, k, self.sink, at))
        return lambda v: pattern @ v

    def _heads(self, x: Tensor) -> Tensor:
        heads = x.view(*x.shape[:-1], self.config.n_head, self.config.d_head)
        return heads.transpose(1, 2)  # [N, H, T, E]


def _attend(q: Tensor, k: Tensor, v: Tensor, sink: Tensor | None, at: Tensor | None) -> Tensor:
    """Causal attention [N, H, T, E]; a sink is a key that all see, whose value is zero.

    It takes a share of what softmax gives, and torch's fused kernel, which says the log of each
    query's sum of exponentials, is corrected by that. No gradient goes through that sum. Where one
    is wanted, and on other devices, the sink stands before the first token, where the plain causal
    mask shows it to every query, and its logit comes through one more channel of queries (1) and
    keys (the logit). With `at` the queries are those of one token a row.
    """
    if at is not None:
        return _pattern(q, k, sink, at) @ v
    scale = 1 / sqrt(q.shape[-1])
    if sink is None:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
    if q.device.type == "cpu" and not torch.is_grad_enabled():
        fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # noqa: SLF001
        mixed, sums = fused(q, k, v, is_causal=True, scale=scale)
        share: Tensor = (sums - sink.view(-1, 1)).sigmoid().to(mixed.dtype)
        attended: Tensor = mixed * share.unsqueeze(-1)
        return attended
    width = q.shape[-1]
    logit = (sink / scale).to(k.dtype).view(1, -1, 1, 1).expand(len(q), -1, 1, 1)
    mixed = F.scaled_dot_product_attention(
        F.pad(q, (0, 1, 1, 0), value=1.0),
        torch.cat([F.pad(logit, (width, 0)), F.pad(k, (0, 1))], dim=2),
        F.pad(v, (0, 1, 1, 0)),
        is_causal=True,
        scale=scale,
    )
    return mixed[:, :, 1:, :width]


def _pattern(q: Tensor, k: Tensor, sink: Tensor | None, at: Tensor | None) -> Tensor:
    """What queries attend to, [N, H, T or 1, T]; what a row lacks to one went to the sink.

    With `at`, [N], the queries [N, H, 1, E] are those of one token a row.
    """
    places = torch.arange(k.shape[2], device=k.device)
    asked = places.expand(len(k), -1) if at is None else at.unsqueeze(1)  # [N, Q]
    scores = q @ k.transpose(2, 3) / sqrt(q.shape[-1])  # [N, H, Q, T]
    seen = places <= asked.unsqueeze(-1)  # [N, Q, T]
    scores = scores.masked_fill(~seen.unsqueeze(1), -torch.inf)
    if sink is not None:
        logit = sink.to(scores.dtype).view(1, -1, 1, 1).expand(*scores.shape[:-1], 1)
        scores = torch.cat([scores, logit], dim=-1)
    return scores.softmax(-1)[..., : k.shape[2]]


class Mlp(_Sublayer):
    """One hidden layer of neurons, read and written through the residual stream."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__(config, layer, "mlp")
        self.up = nn.Linear(config.d_in, config.d_mlp)
        self.down = nn.Linear(config.d_mlp, config.d_model)
        self.nonlinearity = F.gelu if config.activation == "gelu" else F.relu

    def forward(self, resid: Tensor, positions: Tensor | None, access: Access) -> Tensor:
        """The residual stream with what the neurons add to it [N, T, D]."""
        x = self.read(resid, positions, access)
        neurons = access.map(self.ends("act_in", "post_act"), x, unmoved, self.up)  # [N, T, F]
        neurons = self.at("post_act", self.nonlinearity(neurons), access)
        delta = access.map(self.ends("post_act", "resid_delta"), neurons, unmoved, self.down)
        return self.add(resid, self.at("resid_delta", delta, access))


class SparseGPT(nn.Module):
    """Tokens in, next-token logits out.

    Every hook point is open to a replacement of what it holds, every linear map between two of them
    to one of what it gives, before the nonlinearity and AbsTopK; see `Access`.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        # Not drawn at random here: on the meta device that imports torch's compiler, a second.
        zeros = torch.zeros(config.vocab_size, config.d_model)
        self.embed = nn.Embedding.from_pretrained(zeros, freeze=False)  # type: ignore[no-untyped-call]
        widths = {"none": 0, "added": config.d_model, "concatenated": config.d_positions}
        width = widths[config.positions]
        self.positions = nn.Parameter(torch.zeros(config.max_tokens, width)) if width else None
        self.attn = nn.ModuleList(Attention(config, layer) for layer in range(config.n_layer))
        self.mlp = nn.ModuleList(Mlp(config, layer) for layer in range(config.n_layer))
        self.norm = RMSNorm(config.d_model)
        self.unembed = nn.Linear(config.d_model, config.vocab_size)
        table = (config.vocab_size, config.vocab_size)
        self.bigram = nn.Parameter(torch.zeros(table)) if config.bigram else None

    def layers(self) -> list[tuple[Attention, Mlp]]:
        """The sublayers of each layer, in forward order."""
        return cast("list[tuple[Attention, Mlp]]", list(zip(self.attn, self.mlp, strict=True)))

    def forward(
        self, tokens: Tensor, access: Access = NOTHING, *, at: Tensor | None = None
    ) -> Tensor:
        """Logits after each token.

        tokens: [N, T] ids. at: [N] index of one token a row, or None for all of them. Returns
        [N, V] or [N, T, V]. Tokens right of a position never influence it, so right-padding with
        any id changes nothing. With `at` the last layer computes what that token needs: hooks after
        its keys and values are given [N, 1, width].
        """
        resid, tokens = self._run(tokens, access, at)
        logits = self._logits(resid, tokens, access)
        return logits if at is None else logits.squeeze(1)

    def run_shared(self, tree: Tree, access: Access, *, rows: int = 1) -> Tensor:
        """Logits after each prompt of a tree, [K, B, V]; the run begins with so many rows."""
        beginnings = tree.tokens.expand(rows, -1)
        resid, tokens = self._run(beginnings, access, tree.last, tree)
        return self._logits(resid, tokens, access)

    def visit(self, tokens: Tensor, access: Access) -> None:
        """Give a hook the activations [N, T, width] at every hook point; no logits are made."""
        self._run(tokens, access, None)

    def _logits(self, resid: Tensor, tokens: Tensor, access: Access) -> Tensor:
        logits: Tensor = self.unembed(normed(resid, self.norm, "final_scale", access))
        return logits if self.bigram is None else logits + self.bigram[tokens]

    def _run(
        self, tokens: Tensor, access: Access, at: Tensor | None, tree: Tree | None = None
    ) -> tuple[Tensor, Tensor]:
        """The residual stream before the readout, [N, T or 1, D], and the tokens that it is at."""
        resid = self.embed(tokens)  # [N, T, D]
        positions = None
        if self.positions is not None:
            depths = slice(tokens.shape[1]) if tree is None else tree.depths
            positions = self.positions[depths].unsqueeze(0)  # [1, T, D or d_positions]
            if self.config.positions == "added":
                resid, positions = resid + positions, None
        *before, (attn, mlp) = self.layers()
        for earlier_attn, earlier_mlp in before:
            resid = earlier_attn(resid, positions, access, None, tree)
            resid = earlier_mlp(resid, positions, access)
        resid = attn(resid, positions, access, at, tree)
        if at is not None:
            tokens = _asked(tokens[..., None], at, tree)[..., 0]
            if positions is not None:
                positions = _asked(positions.expand(len(tokens), -1, -1), at, tree)
        resid = mlp(resid, positions, access)
        return access.at("final_resid", resid), tokens
