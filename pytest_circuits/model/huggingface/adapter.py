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
from torch import Tensor

from pytest_circuits.model.huggingface.anatomy import Anatomy, Library, anatomy_of
from pytest_circuits.model.huggingface.attention import looking
from pytest_circuits.model.huggingface.hooks import GrownError, Looking, gauges_of, sites_of
from pytest_circuits.model.huggingface.vocabulary import Vocabulary
from pytest_circuits.model.protocol import BLOCK, Gauge, Hook, Join, Shows, Site
from pytest_circuits.model.reference import Reference
from pytest_circuits.model.tree import Tree

_STEP = 8  # prompts are padded to a multiple of so many tokens, which need positions too
_BLOCK = 32  # prompts, on a CPU: to compute what is padding costs as much as anything else
_POSITIONS = 2048  # of a model that sets no limit


def positions_of(module: Library) -> int:
    """The longest prompt of a decoder."""
    config = module.config.get_text_config()
    return int(getattr(config, "max_position_embeddings", None) or _POSITIONS) // _STEP * _STEP


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
    branches: bool = True  # whether a row can hold a tree; else the prompts of one run side by side
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
        return positions_of(self.module)

    @property
    def block(self) -> int:
        return _BLOCK if self.device.type == "cpu" else BLOCK

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

    def run_shared(
        self, tree: Tree, hook: Hook | None = None, join: Join | None = None, *, rows: int = 1
    ) -> Tensor:
        """See `protocol.Shares`; a hook is given all beginnings at every site."""
        if join is not None:
            raise TypeError(f"{self.path}: a model that shows no wires has no edges to cut")
        run = self._in_a_row if self.branches else self._side_by_side
        try:
            return run(tree, hook, rows)
        except GrownError as more:
            return run(tree, hook, more.rows)

    def _in_a_row(self, tree: Tree, hook: Hook | None, rows: int) -> Tensor:
        """Logits [K, B, V]: each beginning attends to those that it begins with."""
        tokens = tree.tokens.expand(rows, -1)
        hidden = torch.zeros(tree.sees.shape, device=tokens.device)
        hidden.masked_fill_(~tree.sees, torch.finfo(hidden.dtype).min)
        with self._looked_into(hook, tokens, ()), self._read_at(lambda x: x[:, tree.ends]):
            logits: Tensor = self.module(
                input_ids=tokens,
                position_ids=tree.depths[None],
                attention_mask=hidden[None, None],
                use_cache=False,
            ).logits
        return logits

    def _side_by_side(self, tree: Tree, hook: Hook | None, rows: int) -> Tensor:
        """The same where a family cannot: one row a prompt, as anywhere else."""

        def of_prompts(name: str, x: Tensor) -> Tensor:
            mine = tree.together(x)
            found = x if hook is None else hook(name, mine)
            if found is mine or hook is None:
                return x
            if len(found) != len(mine):
                raise GrownError(len(found))
            return tree.apart(found)

        tokens = tree.padded.repeat(rows, 1)
        logits = self.run(tokens, of_prompts if hook else None, at=tree.last.repeat(rows))
        return logits.view(rows, len(tree.last), -1)

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

        def only(x: Tensor) -> Tensor:
            return x[torch.arange(len(x), device=x.device), at][:, None]

        with ExitStack() as stack:
            if at is not None:
                stack.enter_context(self._read_at(only))
            yield

    @contextmanager
    def _read_at(self, some: Callable[[Tensor], Tensor]) -> Iterator[None]:
        """Unembed some of the tokens of each row."""
        unembedding = self.anatomy.unembedding
        handle = unembedding.register_forward_pre_hook(lambda _module, inputs: (some(inputs[0]),))
        try:
            yield
        finally:
            handle.remove()

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
