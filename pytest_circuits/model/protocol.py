"""What a model is to everything above: sites, gauges, and one hook that sees and replaces both.

Everything that anyone wants to see or replace is given to one hook by its name. At a *site* nodes
live. A *gauge* can be seen and replaced, and holds no nodes; it is made for a hook only where it is
asked for, so that fused kernels stay otherwise. Nothing above reads meaning out of a name: what a
site is, it says itself.

Letters in shapes: N rows, T tokens, D channels of a site, H heads, Q queries (T, or 1 with `at`),
V vocabulary; of prompts that share beginnings (`tree`): B prompts, P beginnings, K circuits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from pytest_circuits.model.tree import Tree

Hook: TypeAlias = Callable[[str, Tensor], Tensor]  # (site or gauge, what it holds) -> replacement
Ends: TypeAlias = tuple[str, str]  # the sites that a wire joins: source and target
Carry: TypeAlias = Callable[[Tensor], Tensor]  # at the source -> what the wire reads; it is linear


class Kind(StrEnum):
    """What the channels of a site are."""

    RESIDUAL = "residual"  # the residual stream, what is read from it and what is added to it
    QUERY = "query"
    KEY = "key"
    VALUE = "value"
    KEYS_VALUES = "keys_values"  # both: one node is what a group of heads looks at and reads
    HEAD = "head"  # what whole heads put out: one node is one head
    NEURON = "neuron"
    FEATURE = "feature"


@dataclass(frozen=True, slots=True)
class Site:
    """An activation with a name, at which nodes live; a hook is given it as [N, T, D].

    Later tokens see of a token its keys and values alone, and the unembedding the residual site
    without a layer; an adapter whose sites of these kinds are not all there says so by leaving
    them out.
    """

    width: int  # nodes
    kind: Kind
    layer: int | None = None  # None: after the last layer
    point: str = ""  # its name in any layer: sites of one point are of one sort
    head: int = 0  # nodes of one head; 0: they belong to none
    channels: int = 1  # that one node covers, side by side: D = width * channels
    writes: bool = False  # it is what a sublayer adds to the residual stream

    @property
    def is_output(self) -> bool:
        """Whether it is what a sublayer adds to the residual stream, or what is read out."""
        return self.writes or (self.kind is Kind.RESIDUAL and self.layer is None)

    def head_of(self, node: int) -> int | None:
        """Which head of its layer a node belongs to."""
        if self.kind is Kind.HEAD:
            return node
        return node // self.head if self.head else None


class Shows(StrEnum):
    """What a gauge shows."""

    PATTERN = "pattern"  # [N, H, Q, T]: what each head attends to; what a row lacks to one, a sink
    SCALE = "scale"  # [N, T, 1]: what a norm multiplies its input by


@dataclass(frozen=True, slots=True)
class Gauge:
    """A value inside a model that a hook can see and replace, and that holds no nodes."""

    shows: Shows
    layer: int | None = None  # None: after the last layer


class Model(Protocol):
    """A loaded model: names its sites and runs tokens with interventions at them."""

    @property
    def path(self) -> Path:
        """Its directory."""

    @property
    def digest(self) -> str:
        """sha256 of all that decides its logits; the same for the same content."""

    @property
    def tokenizer_digest(self) -> str:
        """sha256 of its tokenizer."""

    @property
    def device(self) -> torch.device:
        """Where its tokens have to be."""

    @property
    def max_tokens(self) -> int:
        """Longest prompt, in tokens."""

    @property
    def vocab_size(self) -> int:
        """Token ids are below this."""

    @property
    def description(self) -> str:
        """One line about the model."""

    @property
    def sites(self) -> Mapping[str, Site]:
        """Where nodes live, in the order in which a forward meets them."""

    @property
    def gauges(self) -> Mapping[str, Gauge]:
        """What else a hook can ask for."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text."""

    def decode_token(self, index: int) -> str:
        """Text of one token."""

    def run(
        self,
        tokens: Tensor,
        hook: Hook | None = None,
        *,
        at: Tensor | None = None,
        gauges: Collection[str] = (),
    ) -> Tensor:
        """Logits after each token, [N, T, V], or after one token of each row, [N, V].

        tokens: [N, T] ids; tokens right of a position never influence it. at: [N], the index of
        the one token. The hook is then given [N, 1, D] where only that token is computed: after
        the last keys and values. gauges: those that the hook is given besides the sites.
        """

    def visit(self, tokens: Tensor, hook: Hook) -> None:
        """Give the hook every site at all tokens [N, T, D]; no logits are made."""


@dataclass(frozen=True, slots=True)
class Wire:
    """A linear map between two sites: its nonzero weights are the edges that there can be."""

    weight: Tensor  # [D of the target, D of the source]
    map: Callable[[Tensor], Tensor]  # what the source carried -> the target, bias included


Join: TypeAlias = Callable[
    [Ends, Tensor, Carry, Wire], Tensor
]  # -> map(carry(x)), or another value


@runtime_checkable
class Wired(Protocol):
    """A model whose edges are weights between sites.

    A join is given the activations x at the source of each wire, and gives what the target is
    computed from, before any nonlinearity.
    """

    def wires(self) -> Mapping[Ends, Wire]:
        """The linear maps between sites, in forward order."""

    def run_joined(
        self, tokens: Tensor, hook: Hook, join: Join, *, at: Tensor | None, gauges: Collection[str]
    ) -> Tensor:
        """The same as `run`, with a join at every wire."""


@runtime_checkable
class Shares(Protocol):
    """A model that runs once what prompts begin with alike, and what circuits have in common."""

    def run_shared(
        self, tree: Tree, hook: Hook | None = None, join: Join | None = None, *, rows: int = 1
    ) -> Tensor:
        """Logits after each prompt, [K, B, V].

        The run begins with so many rows, [rows, P, D]; of one the hook may make K, and is given
        those from there on; a join needs them from the start. After the last keys and values there
        are the prompts' ends alone, [K, B, D].
        """


class Compiled(Protocol):
    """A circuit as a network of its own."""

    def preferences(self, tokens: Tensor, at: Tensor, choices: Tensor) -> Tensor:
        """Logits [B, 2] of `choices` [B, 2] after the tokens `at` [B] of prompts [B, T]."""


@runtime_checkable
class Compiles(Protocol):
    """A model that can make a small network of a circuit, with the same logits."""

    def compile(
        self,
        nodes: Mapping[str, Sequence[int]],
        edges: Mapping[Ends, Sequence[tuple[int, int]]] | None,
        fill: Mapping[str, Tensor],
    ) -> Compiled:
        """The network of a circuit, given by site and by wire, with everything else at `fill`.

        edges: None for every weight between the nodes.
        """


@runtime_checkable
class Shuffles(Protocol):
    """A model of which one that has learnt nothing can be made."""

    def shuffled(self, *, seed: int) -> Model:
        """The model with the entries of each of its weights in another order."""


@runtime_checkable
class Overlapping(Protocol):
    """A model whose sites show the same signals at several places.

    A circuit is chosen among the sites of some points; all else of the model stays as it is.
    """

    @property
    def points(self) -> Sequence[str]:
        """The points of all its sites, whether it shows them or not."""

    def among(self, points: Collection[str]) -> Model:
        """The same model, which shows the sites of these points alone."""


@runtime_checkable
class Divided(Protocol):
    """A model of which some sites are there once for each of the places where a token may stand."""

    @property
    def undivided(self) -> Model:
        """The model itself."""

    def there(self, name: str, tokens: Tensor, at: Tensor) -> Tensor:
        """Which tokens of prompts [N, T], ending at `at` [N], are at the place of a site: [N, T].

        All of them for a site that has none.
        """


def undivided(model: Model) -> Model:
    """A model with each of its sites as one."""
    return model.undivided if isinstance(model, Divided) else model


def whole_of(model: Model) -> Model:
    """A model with all its sites."""
    model = undivided(model)
    return model.among(model.points) if isinstance(model, Overlapping) else model


@runtime_checkable
class Descended(Protocol):
    """A model that knows which one it was made from."""

    @property
    def parent(self) -> str:
        """The digest of that model; empty where nothing is known."""


@runtime_checkable
class HandedOver(Protocol):
    """A model of which other code has the parts, and may change them."""

    @property
    def digest_now(self) -> Callable[[], str] | None:
        """What gives its digest as it would be today; None: nobody else has its parts."""


@runtime_checkable
class Prefixed(Protocol):
    """A model that is given some tokens before every text; `encode` puts them there."""

    @property
    def prefix(self) -> tuple[int, ...]:
        """Their ids."""


def prefix_of(model: Model) -> tuple[int, ...]:
    """What is put before every text; nothing, mostly."""
    return model.prefix if isinstance(model, Prefixed) else ()


@runtime_checkable
class Paced(Protocol):
    """A model that says how many prompts run together at most where a shape is kept."""

    @property
    def block(self) -> int:
        """Prompts, by its kind and device alone: last bits of what a prompt scores hang on it."""


BLOCK = 128  # of a small model


def block_of(model: object) -> int:
    """Prompts of a tree that shares its shape with those of other prompts."""
    return model.block if isinstance(model, Paced) else BLOCK


def wires_of(model: Model) -> Mapping[Ends, Wire]:
    """The wires of a model; none of one that does not show them."""
    return model.wires() if isinstance(model, Wired) else {}


def widths_of(model: Model) -> dict[str, int]:
    """How many nodes there are at each site, in forward order."""
    return {name: site.width for name, site in model.sites.items()}


def sites_of(model: Model, *kinds: Kind) -> dict[str, Site]:
    """The sites of some kinds, in forward order."""
    return {name: site for name, site in model.sites.items() if site.kind in kinds}


def gauges_of(model: Model, shows: Shows) -> dict[str, Gauge]:
    """The gauges that show one thing, in forward order."""
    return {name: gauge for name, gauge in model.gauges.items() if gauge.shows is shows}


def joined(
    model: Model,
    tokens: Tensor,
    hook: Hook,
    join: Join | None,
    *,
    at: Tensor | None = None,
    gauges: Collection[str] = (),
) -> Tensor:
    """Run a model with a hook and, where there is one, a join."""
    if join is None:
        return model.run(tokens, hook, at=at, gauges=gauges)
    if not isinstance(model, Wired):
        raise TypeError(f"{model.path}: a model that shows no wires has no edges to cut")
    return model.run_joined(tokens, hook, join, at=at, gauges=gauges)
