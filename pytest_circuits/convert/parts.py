"""The heads and MLPs of a model, which is what other tools make circuits of, as its nodes.

A head is a node at a site of heads, or its channels of queries, keys and values; an MLP is all its
neurons, or experts. Where sites overlap, that is all; elsewhere the residual stream is at sites of
its own, and stays whole: such circuits never cut it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.model.protocol import Kind, Model, Overlapping, Site, whole_of

_OF_HEADS = (Kind.QUERY, Kind.KEY, Kind.VALUE)
_OF_MLPS = (Kind.NEURON, Kind.FEATURE)
_TOKENS = 4


@dataclass(frozen=True, slots=True)
class Part:
    """A head, or the MLP of a layer."""

    layer: int
    head: int | None = None  # None: the MLP

    @property
    def order(self) -> tuple[int, bool, int]:
        """The order in which a forward meets them."""
        return self.layer, self.head is None, self.head or 0

    def __str__(self) -> str:
        return f"mlp {self.layer}" if self.head is None else f"head {self.layer}.{self.head}"


@dataclass(frozen=True, slots=True)
class Parts:
    """What a model has of them, and how many layers and channels of the residual stream."""

    layers: int
    heads: int  # of a layer; 0: it shows none
    width: int
    nodes: Mapping[Part, Mapping[str, Sequence[int]]]  # of each part, by site
    stream: Mapping[str, Sequence[int]]  # what stays whole besides

    def of(self, parts: Iterable[Part]) -> Nodes:
        """The nodes of some parts, with what stays whole."""
        found = {name: {*every} for name, every in self.stream.items()}
        for part in parts:
            for name, some in self.nodes[part].items():
                found.setdefault(name, set()).update(some)
        return Nodes.of({name: sorted(some) for name, some in found.items()})

    def within(self, nodes: Nodes) -> tuple[list[Part], dict[str, int]]:
        """The parts all nodes of which are among some, and how many others there are by site."""
        held = {name: {*some} for name, some in nodes.channels}
        whole = [
            part
            for part, mine in self.nodes.items()
            if all(held.get(name, set()).issuperset(some) for name, some in mine.items())
        ]
        taken = Counter[str]()
        for part in whole:
            taken.update({name: len(some) for name, some in self.nodes[part].items()})
        left = {name: len(some) - taken[name] for name, some in held.items()}
        return sorted(whole, key=lambda part: part.order), {k: n for k, n in left.items() if n}


def parts_of(model: Model) -> Parts:
    """The heads and MLPs of a model, by what its sites say that they are."""
    sites = whole_of(model).sites
    found: dict[Part, dict[str, Sequence[int]]] = {}
    for name, site in sites.items():
        for part, some in _parts_at(site, sites):
            found.setdefault(part, {})[name] = some
    stream = {name: site for name, site in sites.items() if site.kind is Kind.RESIDUAL}
    heads = [part.head for part in found if part.head is not None]
    return Parts(
        layers=1
        + max((site.layer for site in sites.values() if site.layer is not None), default=0),
        heads=1 + max(heads) if heads else 0,
        width=max((site.width for site in stream.values()), default=0),
        nodes=found,
        stream={}
        if isinstance(model, Overlapping)
        else {name: range(site.width) for name, site in stream.items()},
    )


def _parts_at(site: Site, sites: Mapping[str, Site]) -> list[tuple[Part, Sequence[int]]]:
    if site.layer is None:
        return []
    if site.kind is Kind.HEAD:
        return [(Part(site.layer, head), (head,)) for head in range(site.width)]
    if site.kind in _OF_HEADS and site.head:
        return [
            (Part(site.layer, start // site.head), range(start, start + site.head))
            for start in range(0, site.width, site.head)
        ]
    beside = {other.kind for other in sites.values() if other.layer == site.layer}
    if site.kind is Kind.NEURON or (site.kind is Kind.FEATURE and Kind.NEURON not in beside):
        return [(Part(site.layer), range(site.width))]
    return []


@torch.inference_mode()
def is_parallel(model: Model) -> bool:
    """Whether the MLP of a layer does not read what its heads put out, as a forward shows it."""
    model = whole_of(model)
    by_kind = {site.kind: name for name, site in model.sites.items() if site.layer == 0}
    heads = next((by_kind[kind] for kind in (Kind.HEAD, Kind.VALUE) if kind in by_kind), None)
    mlp = next((by_kind[kind] for kind in _OF_MLPS if kind in by_kind), None)
    if heads is None or mlp is None:
        return False
    tokens = torch.arange(_TOKENS, device=model.device)[None] % model.vocab_size
    seen: list[Tensor] = []
    for factor in (1, 0):

        def hook(name: str, x: Tensor, factor: int = factor) -> Tensor:
            if name == mlp:
                seen.append(x.clone())
            return x * factor if name == heads else x

        model.visit(tokens, hook)
    return bool(torch.equal(*seen))
