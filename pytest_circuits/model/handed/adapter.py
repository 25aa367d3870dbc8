"""A module of torch as a model with sites, which its owner has named; see `model.protocol`.

Letters as there. Its sites may overlap: a specification says which of them its circuit is chosen
among.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pytest_circuits.errors import ModelError
from pytest_circuits.model.huggingface.attention import at_attention
from pytest_circuits.model.huggingface.hooks import at_scale
from pytest_circuits.model.huggingface.vocabulary import Vocabulary
from pytest_circuits.model.protocol import Gauge, Hook, Site
from pytest_circuits.model.reference import Reference


@dataclass(frozen=True, slots=True)
class Place:
    """One part of a module that is there, and the end at which it is looked at."""

    part: nn.Module
    output: bool
    of_norm: bool = False  # what the part, a norm, multiplies by
    of_heads: bool = False  # what the heads of the part, of transformers, attend to

    def look(self, see: Callable[[Tensor], Tensor]) -> RemovableHandle:
        """Have a forward give what is there to a function, and go on with what it returns."""
        if self.of_norm:
            return at_scale(self.part, see)
        if self.of_heads:
            return at_attention(self.part, see)
        if self.output:
            return self.part.register_forward_hook(
                lambda _part, _inputs, y: (see(y[0]), *y[1:]) if isinstance(y, tuple) else see(y)
            )

        def exchange(
            _part: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            if inputs:
                return (see(inputs[0]), *inputs[1:]), named
            first = next(iter(named), None)
            if first is None:
                raise ModelError(f"{type(self.part).__name__} is called without any argument")
            return inputs, {**named, first: see(named[first])}

        return self.part.register_forward_pre_hook(exchange, with_kwargs=True)


@dataclass(frozen=True)
class HandedModel:
    """A module that was handed over; `shown` are the points of the sites that it shows, if not all.

    every: its sites, in the order in which a forward meets them, each at its place. looked_at: its
    gauges.
    """

    path: Path
    module: nn.Module = field(repr=False)
    every: Mapping[str, tuple[Site, Place]] = field(repr=False)
    looked_at: Mapping[str, tuple[Gauge, Place]] = field(repr=False)
    vocabulary: Vocabulary = field(repr=False)
    digest: str  # sha256 of all that it computes with, tokenizer and what its sites are said to be
    device: torch.device
    vocab_size: int
    max_tokens: int
    digest_now: Callable[[], str] | None = field(default=None, repr=False)  # see `HandedOver`
    shown: frozenset[str] | None = None
    reference: Reference | None = field(default=None, repr=False)  # None: it lies beside the model

    @property
    def tokenizer_digest(self) -> str:
        return self.vocabulary.digest

    @property
    def prefix(self) -> tuple[int, ...]:
        return self.vocabulary.prefix

    @property
    def description(self) -> str:
        layers = {site.layer for site, _ in self.every.values() if site.layer is not None}
        return (
            f"{type(self.module).__name__}, {len(layers)} layers, vocabulary {self.vocab_size}, "
            f"{self.vocabulary.description}"
        )

    @cached_property
    def sites(self) -> Mapping[str, Site]:
        shown = self.points if self.shown is None else self.shown
        return {name: site for name, (site, _) in self.every.items() if site.point in shown}

    @cached_property
    def points(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(site.point for site, _ in self.every.values()))

    def among(self, points: Collection[str]) -> HandedModel:
        return replace(self, shown=frozenset(points))

    @cached_property
    def gauges(self) -> Mapping[str, Gauge]:
        return {name: gauge for name, (gauge, _) in self.looked_at.items()}

    def encode(self, text: str) -> list[int]:
        return self.vocabulary.encode(text)

    def spans(self, text: str) -> list[tuple[int, int]]:
        return self.vocabulary.spans(text)

    def decode_token(self, index: int) -> str:
        return self.vocabulary.token(index)

    def run(
        self,
        tokens: Tensor,
        hook: Hook | None = None,
        *,
        at: Tensor | None = None,
        gauges: Collection[str] = (),
    ) -> Tensor:
        with self._looked_into(hook, gauges):
            logits = logits_of(self.module, tokens)
        return logits if at is None else logits[torch.arange(len(tokens), device=at.device), at]

    def visit(self, tokens: Tensor, hook: Hook) -> None:
        self.run(tokens, hook)

    @contextmanager
    def _looked_into(self, hook: Hook | None, gauges: Collection[str]) -> Iterator[None]:
        with ExitStack() as stack:
            if hook is not None:
                places = [(name, self.every[name][1]) for name in self.sites]
                places += [(name, self.looked_at[name][1]) for name in gauges]
                for name, place in places:
                    stack.callback(place.look(partial(hook, name)).remove)
            yield


def logits_of(module: nn.Module, tokens: Tensor) -> Tensor:
    """Logits [N, T, V] of a module: what it gives, its `logits` or its first; else ModelError."""
    given = module(tokens)
    logits = getattr(given, "logits", given[0] if isinstance(given, tuple) else given)
    if not isinstance(logits, Tensor) or logits.dim() != 3 or logits.shape[:2] != tokens.shape:
        shape = list(logits.shape) if isinstance(logits, Tensor) else type(given).__name__
        raise ModelError(
            f"should give logits [rows, tokens, vocabulary] of token ids {list(tokens.shape)}, and "
            f"gives {shape}"
        )
    return logits
