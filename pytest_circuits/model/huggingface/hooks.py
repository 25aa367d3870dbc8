"""Where a forward of transformers is looked into: hooks of torch that call a hook of ours.

Letters as in `model.protocol` and `anatomy`; E experts, K of them chosen by a token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pytest_circuits.model.huggingface.anatomy import (
    Anatomy,
    Apart,
    Block,
    Together,
    is_norm,
    scale_of,
)
from pytest_circuits.model.protocol import Gauge, Hook, Kind, Shows, Site

RESID, HEADS, GROUPS, NEURONS, EXPERTS = "resid", "attn.head", "attn.kv", "mlp.neuron", "mlp.expert"
FINAL, FINAL_SCALE, PATTERN = "final_resid", "final_scale", "attn.pattern"


def sites_of(anatomy: Anatomy) -> dict[str, Site]:
    """Where nodes can live in a decoder, in the order in which a forward meets them."""
    found: dict[str, Site] = {}
    for n, block in enumerate(anatomy.blocks):
        size = block.head_dim
        found[f"{n}.{RESID}"] = Site(anatomy.width, Kind.RESIDUAL, n, RESID)
        if block.keys_values is not None:
            groups = Site(block.groups, Kind.KEYS_VALUES, n, GROUPS, channels=2 * size)
            found[f"{n}.{GROUPS}"] = groups
        found[f"{n}.{HEADS}"] = Site(block.heads, Kind.HEAD, n, HEADS, channels=size)
        if block.experts is not None:
            found[f"{n}.{EXPERTS}"] = Site(block.number_of_experts, Kind.FEATURE, n, EXPERTS)
        elif block.down is not None:
            found[f"{n}.{NEURONS}"] = Site(block.neurons, Kind.NEURON, n, NEURONS)
    if anatomy.final is not None:
        found[FINAL] = Site(anatomy.width, Kind.RESIDUAL, point=RESID)
    return found


def gauges_of(anatomy: Anatomy, *, patterns: bool) -> dict[str, Gauge]:
    """What else can be seen: scales of the norms of a layer, and attention where that is known."""
    found: dict[str, Gauge] = {}
    for n, block in enumerate(anatomy.blocks):
        found |= {f"{n}.{name}.scale": Gauge(Shows.SCALE, n) for name in block.norms}
        if patterns:
            found[f"{n}.{PATTERN}"] = Gauge(Shows.PATTERN, n)
    return found | ({FINAL_SCALE: Gauge(Shows.SCALE)} if is_norm(anatomy.final) else {})


class GrownError(Exception):
    """A hook made more rows of one where this decoder cannot go on with them."""

    def __init__(self, rows: int) -> None:
        super().__init__(rows)
        self.rows = rows


@dataclass(frozen=True)
class Looking:
    """One forward of tokens of a shape [N, T], and the hook that is to be called by some names.

    Rows that a hook makes of one are added to the residual stream, and so to all that comes after:
    what is read before the stream is added to can grow, if it is laid out by tokens.
    """

    hook: Hook
    shape: tuple[int, int]
    names: frozenset[str]

    def into(self, anatomy: Anatomy) -> Iterator[RemovableHandle]:
        """Hook in wherever something is that has one of the names."""
        for n, block in enumerate(anatomy.blocks):
            yield from self._into_block(n, block)
        if anatomy.final is not None:
            if FINAL in self.names:
                yield _before(anatomy.final, self._seen(FINAL, grows=True))
            yield from self._into_norm(FINAL_SCALE, anatomy.final)

    def pattern(self, layer: int, x: Tensor) -> Tensor:
        """What the hook makes of the attention [N, H, Q, T] of a layer."""
        name = f"{layer}.{PATTERN}"
        return self.hook(name, x) if name in self.names else x

    def _into_block(self, n: int, block: Block) -> Iterator[RemovableHandle]:
        """In the order of a forward: where two hooks are at one module, that decides."""
        if (name := f"{n}.{RESID}") in self.names:
            yield _before(block.module, self._seen(name, grows=True))
        if (name := f"{n}.{GROUPS}") in self.names:
            yield from self._into_groups(name, block)
        for name, module in ((f"{n}.{HEADS}", block.out), (f"{n}.{NEURONS}", block.down)):
            if module is not None and name in self.names:
                yield _before(module, self._seen(name, grows=True))
        if (name := f"{n}.{EXPERTS}") in self.names and block.experts is not None:
            yield self._into_experts(name, block, block.experts)
        for name, norm in block.norms.items():
            yield from self._into_norm(f"{n}.{name}.scale", norm)

    def _seen(self, name: str, *, grows: bool = False) -> Callable[[Tensor], Tensor]:
        """The hook for a value [N, T, D] that some families lay out as [N * T, D]."""

        def see(x: Tensor) -> Tensor:
            mine = x if x.dim() == 1 + len(self.shape) else x.view(-1, self.shape[1], x.shape[-1])
            found = self.hook(name, mine)
            if len(found) != len(mine) and (mine is not x or not grows):
                raise GrownError(len(found))
            return found if mine is x else found.view(x.shape)

        return see

    def _into_groups(self, name: str, block: Block) -> Iterator[RemovableHandle]:
        at, see = block.keys_values, self._seen(name)
        if isinstance(at, Together):
            channels = at.channels.to(next(at.module.parameters()).device)

            def exchange(_module: nn.Module, _inputs: object, y: Tensor) -> Tensor:
                return y.index_copy(-1, channels, see(y[..., channels]))

            yield at.module.register_forward_hook(exchange)
        elif isinstance(at, Apart):
            made: dict[str, Tensor] = {}

            def make(x: Tensor) -> Tensor:
                """Keys and values of what attention reads, before it asks for either."""
                keys, values = x, at.values.forward(x)
                for module in at.keys:
                    keys = module.forward(keys)
                by_group = [y.unflatten(-1, (-1, block.head_dim)) for y in (keys, values)]
                both = torch.stack(by_group, dim=-2)  # [N, T, G, 2, dh]
                found = see(both.flatten(-3)).view(both.shape)
                made["keys"], made["values"] = (part.flatten(-2) for part in found.unbind(-2))
                return x

            yield _before(block.attention, make)
            for what, module in (("keys", at.keys[-1]), ("values", at.values)):
                yield module.register_forward_hook(
                    lambda _module, _inputs, y, what=what: made.pop(what).view(y.shape)
                )

    def _into_experts(self, name: str, block: Block, experts: nn.Module) -> RemovableHandle:
        see = self._seen(name)

        def weigh(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            """All experts run, those that were not chosen with the weight that the hook gives."""
            x, index, weights, *others = inputs
            count = block.number_of_experts
            shares = weights.new_zeros(len(x), count).scatter(1, index, weights)  # [N * T, E]
            every = torch.arange(count, device=index.device).expand(len(x), -1)
            return (x, every.contiguous(), see(shares), *others)

        return experts.register_forward_pre_hook(weigh)

    def _into_norm(self, name: str, norm: nn.Module) -> Iterator[RemovableHandle]:
        if name in self.names:
            yield at_scale(norm, self._seen(name))


def at_scale(norm: nn.Module, see: Callable[[Tensor], Tensor]) -> RemovableHandle:
    """Show what a norm multiplies its input by, [..., 1], and multiply by what is returned."""

    def scale(_module: nn.Module, inputs: tuple[Any, ...], y: Tensor) -> Tensor:
        own = scale_of(norm, inputs[0])  # [..., 1]
        given = see(own)
        bias: Any = getattr(norm, "bias", None)
        shift = torch.zeros((), device=y.device) if bias is None else bias
        return y if given is own else (y - shift) * (given / own) + shift

    return norm.register_forward_hook(scale)


def _before(module: nn.Module, see: Callable[[Tensor], Tensor]) -> RemovableHandle:
    """Exchange what a module reads: its first argument, or that of the name `hidden_states`."""

    def exchange(
        _module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if inputs:
            return (see(inputs[0]), *inputs[1:]), named
        return inputs, {**named, "hidden_states": see(named["hidden_states"])}

    return module.register_forward_pre_hook(exchange, with_kwargs=True)
