"""Attribution graphs of circuit-tracer, as Neuronpedia shows and saves them, as JSON.

Their nodes are features of transcoders, what the transcoders miss (error nodes), tokens and logits;
attention is as it was on one prompt, and no node. A feature is a part of what the MLP of its layer
writes, as is an error, so that those MLPs are taken, whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pytest_circuits.convert.json_places import At
from pytest_circuits.convert.parts import Part, Parts
from pytest_circuits.convert.published_graph import (
    ON_NO_PATH,
    LeftOut,
    PublishedGraph,
    check_size,
    no_path,
    on_paths,
    part_at,
    some_of,
)
from pytest_circuits.spec.problems import quoted

TOOL = "circuit-tracer"
_ID = re.compile(r"(\d{1,9}|E)_(-?\d{1,12})_(\d{1,9})", re.ASCII)


class Sort(StrEnum):
    """What a node is."""

    FEATURE = "feature"
    ERROR = "error node"
    TOKEN = "token"  # noqa: S105  (a word)
    LOGIT = "logit"
    OTHER = "other node"


_WHY = {
    Sort.FEATURE: "the model has no transcoder; the MLPs that they are features of stand for them",
    Sort.ERROR: "the model has no transcoder that could miss anything; their MLPs stand for them",
    Sort.TOKEN: "they are no nodes here: the input is never ablated",
    Sort.LOGIT: "they are no nodes here: the output is never ablated",
    Sort.OTHER: "of a kind that has no counterpart in the model",
}
_UNCLEAR = (
    "{} may be a feature of layer 0 or the error node of another layer, which older files call "
    "alike; make the graph again with a newer version, or take it out"
)
_PINNED, _GROUPS = "pinnedIds", "supernodes"
_SORTS = {
    "mlp reconstruction error": Sort.ERROR,
    "embedding": Sort.TOKEN,
    "logit": Sort.LOGIT,
}  # by `feature_type`; what names a transcoder is a feature


@dataclass(frozen=True, slots=True)
class _Node:
    name: str
    sort: Sort
    layer: int = 0  # of a feature or an error


def is_circuit_tracer(said: object) -> bool:
    """Whether JSON is such a graph, or a subgraph of one, by its keys."""
    return isinstance(said, dict) and (
        said.keys() >= {"nodes", "links"} or not {_PINNED, _GROUPS}.isdisjoint(said)
    )


def read_circuit_tracer(said: At, parts: Parts, threshold: float | None) -> PublishedGraph:
    """The MLPs that a subgraph is about; ModelError where it is none, or of another model.

    threshold: the least size of the weight of a link that is in it; None: the nodes that are
    pinned, or all where none is.
    """
    nodes = _by_name(said, parts)
    idle: set[_Node] = set()
    if threshold is not None:
        kept, idle = _along(said["links"], nodes, threshold, parts)
    elif pinned := _pinned(said):
        kept = {_named(at, nodes, parts) for at in pinned}
    else:
        kept = {node for several in nodes.values() for node in several}
    found = {Part(node.layer) for node in kept if node.sort in {Sort.FEATURE, Sort.ERROR}}
    if not found:
        raise said.wrong("no feature and no error node is in the subgraph, and so no MLP")
    left = [
        LeftOut(some_of({node.name for node in kept if node.sort is sort}, sort), why)
        for sort, why in _WHY.items()
        if any(node.sort is sort for node in kept)
    ]
    if idle:
        left.append(LeftOut(some_of({node.name for node in idle}, "node"), ON_NO_PATH))
    left.append(LeftOut("attention", "such a graph takes it as it is: all heads stay whole"))
    metadata = said.get("metadata")
    made_on = metadata.get("scan") if metadata else None
    return PublishedGraph(
        TOOL,
        frozenset(found),
        tuple(left),
        heads=False,
        made_on=made_on.text() if made_on else "",
    )


def _pinned(said: At) -> list[At]:
    """The ids of the nodes of a subgraph: of a graph with its settings, or on their own.

    A group of nodes is its label and then their ids.
    """
    settings = said.get("qParams") or said
    ids, groups = (settings.get(key) for key in (_PINNED, _GROUPS))
    found = ids.items() if ids else []
    for group in groups.items() if groups else ():
        found += group.items()[1:]
    return found


def _by_name(said: At, parts: Parts) -> dict[str, list[_Node]]:
    """All nodes; in older files a feature of layer 0 and an error node may have one id."""
    found: dict[str, list[_Node]] = {}
    nodes = said.get("nodes")
    for at in nodes.items() if nodes else ():
        name, kind = at["node_id"], at["feature_type"].text().casefold()
        sort = _SORTS.get(kind, Sort.FEATURE if "transcoder" in kind else Sort.OTHER)
        node = _node(name, sort, parts)
        found.setdefault(node.name, []).append(node)
    return found


def _node(at: At, sort: Sort, parts: Parts) -> _Node:
    name = at.text()
    if sort is Sort.OTHER:
        return _Node(name, sort)
    one, other = _numbers(at)
    if sort is Sort.LOGIT:
        check_size(at, "layers", int(one) - 1, parts.layers)
    elif sort is Sort.ERROR:
        if other != -1 and one != "0":
            raise at.wrong(f"{quoted(name)} is no error node: they are called LAYER_-1_POSITION")
        layer = int(one) if other == -1 else other  # 0_LAYER_POSITION in older files
        return _Node(name, sort, part_at(at, parts, layer).layer)
    elif sort is Sort.FEATURE:
        return _Node(name, sort, part_at(at, parts, int(one)).layer)
    return _Node(name, sort)


def _numbers(at: At) -> tuple[str, int]:
    """The first two parts of an id: a layer, or E of a token, and a feature, token or layer."""
    found = _ID.fullmatch(at.text())
    if found is None:
        raise at.wrong(f"{quoted(at.text())} is no id of a node, such as 15_4494_4")
    return found[1], int(found[2])


def _named(at: At, nodes: Mapping[str, list[_Node]], parts: Parts) -> _Node:
    """The node that an id names."""
    name = at.text()
    if not nodes:  # ids on their own
        return _node(at, _sort_of(at, parts), parts)
    match nodes.get(name, []):
        case [node]:
            return node
        case []:
            raise at.wrong(f"{quoted(name)} is none of the nodes")
    raise at.wrong(_UNCLEAR.format(quoted(name)))


def _sort_of(at: At, parts: Parts) -> Sort:
    """What an id that stands without its node is."""
    one, other = _numbers(at)
    if one == "E":
        return Sort.TOKEN
    if other == -1:
        return Sort.ERROR
    if int(one) > parts.layers:
        return Sort.LOGIT
    if one == "0" and other < parts.layers:
        raise at.wrong(_UNCLEAR.format(quoted(at.text())))
    return Sort.FEATURE


def _along(
    links: At, nodes: Mapping[str, list[_Node]], threshold: float, parts: Parts
) -> tuple[set[_Node], set[_Node]]:
    """The nodes on paths of heavy links from tokens to logits, and the others that these join."""
    edges = [
        (_named(at["source"], nodes, parts), _named(at["target"], nodes, parts))
        for at in links.items()
        if abs(at["weight"].number()) >= threshold
    ]
    ends = {node for edge in edges for node in edge}
    tokens = {node for node in ends if node.sort in {Sort.TOKEN, Sort.ERROR}}  # read from nothing
    logit = _Node("", Sort.LOGIT)
    ways = [*edges, *((node, logit) for node in ends if node.sort is Sort.LOGIT)]
    found = on_paths(ways, tokens, logit) - {logit}
    if not found:
        raise no_path(links, len(edges), threshold=threshold)
    return found, ends - found
