"""Finding the nodes of one model in another that has other addresses for them.

Channels are matched by what they carry on the same prompts, by the Hungarian method (Kuhn 1955), as
Li et al. 2015, "Convergent Learning", and Ainsworth et al. 2023, "Git Re-Basin", do. Channels that
share a basis are matched together: the residual stream has one numbering for all that reads it and
writes to it, queries and keys of a head meet channel by channel, and a head moves as a whole.
Letters: B and C channels in the two models, N numbers that describe a channel, H heads.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np

from pytest_circuits.circuit.edges import Edges
from pytest_circuits.circuit.encoding import Floats
from pytest_circuits.circuit.nodes import Node, Nodes, all_nodes
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.errors import ModelError
from pytest_circuits.model.protocol import Kind, Site
from pytest_circuits.prompts.space import Pair
from pytest_circuits.spec.places import site_of

MATCH_PAIRS = 32  # pairs of prompts on which channels are held against each other
TINY = 1e-6  # an activation that varies by less is constant
_CONSTANT = 0.01  # how much the nearness of two means counts, beside how they vary
RESIDUAL = "residual"
_OF_HEADS = frozenset({Kind.QUERY, Kind.KEY, Kind.VALUE})


@dataclass(frozen=True, slots=True)
class Match:
    """Where the nodes of a circuit are in another model.

    there: by node, in the circuit's order, where it is. alike: by node, the correlation that it was
    found by, with its sign: a channel that is turned, with all that reads it, is the same node.
    """

    there: Mapping[Node, Node]
    alike: Mapping[Node, float]

    @property
    def moved(self) -> int:
        return sum(here != there for here, there in self.there.items())

    @property
    def nodes(self) -> Nodes:
        return Nodes.gather(self.there.values())

    def at_places(self, nodes: Nodes) -> Match:
        """The same of nodes at places, by what was found of their hook points."""
        whole = {(name, c): (site_of(name), c) for name, c in nodes}
        return Match(
            {node: (node[0], self.there[whole[node]][1]) for node in nodes},
            {node: self.alike[whole[node]] for node in nodes},
        )

    @property
    def reversed(self) -> Match:
        """The same from the other model's side."""
        back = {there: here for here, there in self.there.items()}
        return Match(
            {node: back[node] for node in self.nodes},
            {node: self.alike[back[node]] for node in self.nodes},
        )

    def edges(self, edges: Edges | None) -> Edges | None:
        if edges is None:
            return None
        return type(edges).gather(
            (ends, (self.there[ends[0], i][1], self.there[ends[1], j][1])) for ends, (i, j) in edges
        )


def match_nodes(here: Runner, there: Runner, nodes: Nodes, pairs: Sequence[Pair]) -> Match:
    """Where the nodes of a circuit in the model of `here` are in the model of `there`.

    Raises ModelError when that has no such hook points, or too few channels at one of them.
    """
    _check(here, there, nodes)
    common = here.model.sites.keys() & there.model.sites.keys()
    sides = [_described(runner, pairs, common) for runner in (here, there)]
    maps: dict[str, dict[int, tuple[int, float]]] = {}
    for name in nodes.shape:
        site, other = here.model.sites[name], there.model.sites[name]
        part = _part(name, site)
        if part in maps:
            continue
        if site.kind in _OF_HEADS:
            maps |= _heads(site, sides, (site.head, other.head))
        else:
            maps[part] = _assigned(_similarity(sides[0][part], sides[1][part]))
    found = {
        (name, c): maps[_part(name, here.model.sites[name])].get(c, (c, 0.0)) for name, c in nodes
    }
    return Match(
        {(hook, c): (hook, there) for (hook, c), (there, _) in found.items()},
        {node: alike for node, (_, alike) in found.items()},
    )


def _check(here: Runner, there: Runner, nodes: Nodes) -> None:
    for name in nodes.shape:
        site, other = here.model.sites[name], there.model.sites.get(name)
        if other is not None and other.head < site.head:
            raise ModelError(
                f"{there.model.path}: the circuit cannot be matched: its heads have {other.head} "
                f"channels, those of {here.model.path} {site.head}; prune it anew"
            )
        if other is None or other.width < site.width or other.kind is not site.kind:
            raise ModelError(
                f"{there.model.path}: the circuit cannot be matched: hook point {name} has "
                f"{other.width if other else 'no'} channels here and {site.width} in "
                f"{here.model.path}; prune it anew"
            )


def _part(name: str, site: Site) -> str:
    """What shares one numbering with a site: the residual stream, or a part of the heads.

    Queries and keys meet channel by channel; values are numbered by themselves.
    """
    match site.kind:
        case Kind.RESIDUAL:
            return RESIDUAL
        case Kind.QUERY | Kind.KEY:
            return f"{site.layer}.qk"
        case Kind.VALUE:
            return f"{site.layer}.v"
        case _:
            return name


def _described(runner: Runner, pairs: Sequence[Pair], hooks: AbstractSet[str]) -> dict[str, Floats]:
    """Every channel as numbers [channels, hook points, N], by what shares a numbering.

    Of each hook point how the channel varies there, with length one or zero, then its mean.
    """
    every = all_nodes(runner.model)
    signals = runner.signals(pairs, every)
    ends = np.cumsum([*every.shape.values()])[:-1]
    found: defaultdict[str, list[Floats]] = defaultdict(list)
    for hook, x in zip(every.shape, np.split(signals, ends), strict=True):
        if hook not in hooks:
            continue
        centred = x - x.mean(axis=1, keepdims=True)
        size = np.linalg.norm(centred, axis=1, keepdims=True)
        unit = np.where(size > TINY, centred / np.maximum(size, TINY), 0.0)
        part = _part(hook, runner.model.sites[hook])
        found[part].append(np.hstack([unit, x.mean(axis=1, keepdims=True)]))
    if RESIDUAL in found:  # positions may be read beside the stream
        width = min(len(x) for x in found[RESIDUAL])
        found[RESIDUAL] = [x[:width] for x in found[RESIDUAL]]
    return {part: np.stack(points, axis=1) for part, points in found.items()}


def _similarity(one: Floats, other: Floats) -> Floats:
    """Correlation of every channel with every other, with its sign: [B, hooks, N] -> [B, C].

    Where both are constant at a hook point, the nearness of their means says a little.
    """
    varying = np.einsum("bhn,chn->bc", one[..., :-1], other[..., :-1])
    alive = [np.square(x[..., :-1]).sum(axis=(1, 2)) for x in (one, other)]
    scale = np.sqrt(np.maximum(np.outer(*alive), 1.0))
    means = [x[..., -1] for x in (one, other)]
    apart = np.zeros_like(varying)
    for b, c in zip(means[0].T, means[1].T, strict=True):  # of one hook point
        apart += np.abs(b[:, None] - c[None])
    sizes = np.abs(means[0]).sum(axis=1)[:, None] + np.abs(means[1]).sum(axis=1)[None]
    nearness = 1 - apart / np.maximum(sizes, TINY)
    alike: Floats = varying / scale
    alike += np.where(alike < 0, -1, 1) * _CONSTANT * nearness
    return alike


def _assigned(alike: Floats) -> dict[int, tuple[int, float]]:
    """For each channel its partner, and how alike they are: [B, C]."""
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415  (loaded when it is asked for)

    rows, columns = linear_sum_assignment(np.abs(alike), maximize=True)
    return {
        int(b): (int(c), float(np.clip(alike[b, c], -1, 1)))
        for b, c in zip(rows, columns, strict=True)
    }


def _heads(
    site: Site, sides: Sequence[Mapping[str, Floats]], widths: tuple[int, int]
) -> dict[str, dict[int, tuple[int, float]]]:
    """The channels of the heads of one layer: whole heads first, then the channels of each."""
    layer = site.layer
    parts = [p for p in (f"{layer}.qk", f"{layer}.v") if all(p in side for side in sides)]
    alike = {part: _similarity(*(side[part] for side in sides)) for part in parts}
    blocks = {
        part: [
            [_assigned(block) for block in np.split(rows, rows.shape[1] // widths[1], axis=1)]
            for rows in np.split(x, len(x) // widths[0])
        ]
        for part, x in alike.items()
    }
    score = np.array(
        [
            [sum(_alike(blocks[p][b][c]) for p in parts) for c in range(len(row))]
            for b, row in enumerate(blocks[parts[0]])
        ]
    )
    found: dict[str, dict[int, tuple[int, float]]] = {part: {} for part in parts}
    for b, (c, _) in _assigned(score / max(score.max(), 1.0)).items():
        for part in parts:
            for i, (j, how) in blocks[part][b][c].items():
                found[part][b * widths[0] + i] = (c * widths[1] + j, how)
    return found


def _alike(channels: Mapping[int, tuple[int, float]]) -> float:
    return sum(abs(alike) for _, alike in channels.values())
