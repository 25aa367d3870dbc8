"""A decoder of transformers as a model with sites and gauges; see `model.protocol`.

Its sites overlap: what a group of heads reads, what a head puts out and the residual stream are the
same signal at several places. A specification says which of them its circuit is chosen among.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pytest_circuits.model.huggingface.anatomy import Anatomy, Library, anatomy_of
from pytest_circuits.model.huggingface.attention import looking
from pytest_circuits.model.huggingface.hooks import Looking, gauges_of, sites_of
from pytest_circuits.model.huggingface.vocabulary import Vocabulary
from pytest_circuits.model.protocol import Gauge, Hook, Shows, Site
from pytest_circuits.model.reference import Reference

_STEP = 8  # prompts are padded to a multiple of so many tokens, which need positions too
_POSITIONS = 2048  # of a model that sets no limit


@dataclass(frozen=True)
class HuggingFaceModel:
    """A decoder that was loaded; `shown` are the points of the sites that it shows, if not all."""

    path: Path
    module: Library = field(repr=False)
    anatomy: Anatomy = field(repr=False)
    vocabulary: Vocabulary = field(repr=False)
    digest: str  # sha256 of weights, configuration and tokenizer
    device: torch.device
    stored: str = "float32"  # the type of the weights in their files
    patterns: bool = True
    shown: frozenset[str] | None = None
    reference: Reference | None = field(default=None, repr=False)  # None: it lies beside the model
    digest_now: Callable[[], str] | None = field(default=None, repr=False)  # see `HandedOver`

    @property
    def tokenizer_digest(self) -> str:
        return self.vocabulary.digest

    @property
    def prefix(self) -> tuple[int, ...]:
        return self.vocabulary.prefix

    @property
    def max_tokens(self) -> int:
        most = getattr(self._config, "max_position_embeddings", None) or _POSITIONS
        return int(most) // _STEP * _STEP

    @property
    def vocab_size(self) -> int:
        return len(self.module.get_input_embeddings().weight)

    @property
    def description(self) -> str:
        first, count = self.anatomy.blocks[0], len(self.anatomy.blocks)
        groups = f" in {first.groups} groups" if first.groups != first.heads else ""
        return (
            f"{self._config.model_type}, {count} layers, {first.heads} heads{groups}, "
            f"d_model {self.anatomy.width}, vocabulary {self.vocab_size}, {self.stored} weights, "
            f"{self.vocabulary.description}"
        )

    @cached_property
    def sites(self) -> Mapping[str, Site]:
        every = sites_of(self.anatomy)
        shown = self.points if self.shown is None else self.shown
        return {name: site for name, site in every.items() if site.point in shown}

    @cached_property
    def points(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(site.point for site in sites_of(self.anatomy).values()))

    def among(self, points: Collection[str]) -> HuggingFaceModel:
        return replace(self, shown=frozenset(points))

    @cached_property
    def gauges(self) -> Mapping[str, Gauge]:
        return gauges_of(self.anatomy, patterns=self.patterns)

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
        with self._looked_into(hook, tokens, gauges), self._asked(at):
            logits: Tensor = self.module(input_ids=tokens, use_cache=False).logits
        return logits if at is None else logits[:, 0]

    def visit(self, tokens: Tensor, hook: Hook) -> None:
        with self._looked_into(hook, tokens, ()):
            self.module.base_model(input_ids=tokens, use_cache=False)

    def shuffled(self, *, seed: int) -> HuggingFaceModel:
        """The model with the entries of every weight in another order."""
        rng = np.random.Generator(np.random.Philox(key=seed))
        module = deepcopy(self.module)
        with torch.no_grad():
            for _, weight in sorted(module.named_parameters()):
                order = torch.from_numpy(rng.permutation(weight.numel())).to(weight.device)
                weight.copy_(weight.flatten()[order].view(weight.shape))
        anatomy = anatomy_of(module, module.config)
        digest = f"{self.digest} shuffled"
        own = replace(self, module=module, anatomy=anatomy, digest=digest)
        return replace(own, reference=None, digest_now=None)

    @property
    def _config(self) -> Library:
        return self.module.config.get_text_config()

    @contextmanager
    def _asked(self, at: Tensor | None) -> Iterator[None]:
        """Unembed one token of each row alone, where that is all that is asked for."""

        def only(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            rows = torch.arange(len(inputs[0]), device=inputs[0].device)
            return (inputs[0][rows, at][:, None],)

        with ExitStack() as stack:
            if at is not None:
                stack.callback(self.anatomy.unembedding.register_forward_pre_hook(only).remove)
            yield

    @contextmanager
    def _looked_into(
        self, hook: Hook | None, tokens: Tensor, gauges: Collection[str]
    ) -> Iterator[None]:
        """Call the hook at every site that is shown, and at the gauges that are asked for."""
        with ExitStack() as stack:
            if hook is not None:
                names = frozenset(self.sites) | frozenset(gauges)
                into = Looking(hook, (tokens.shape[0], tokens.shape[1]), names)
                for handle in into.into(self.anatomy):
                    stack.callback(handle.remove)
                if any(self.gauges[name].shows is Shows.PATTERN for name in gauges):
                    stack.enter_context(looking(self.module.config, into.pattern))
            yield
