"""Graphs of EAP-IG and of the MIB circuit track as JSON: read, and written.

Nodes are `input`, heads such as `a9.h6`, MLPs such as `m3`, and `logits`; edges such as
`a8.h6->a9.h9<q>`, each with its score and whether it is in the graph. As the tool itself does
before it evaluates a graph, edges decide: what no path of them leads through is not in the circuit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator

from pytest_circuits.convert.json_places import At
from pytest_circuits.convert.parts import Part, Parts
from pytest_circuits.convert.published_graph import (
    EDGES,
    ENDS,
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

TOOL = "EAP-IG"
GRAPH_BEGINS = '{"cfg"'
INPUT, LOGITS = "input", "logits"
_HEAD, _MLP = re.compile(r"a(\d{1,6})\.h(\d{1,6})", re.ASCII), re.compile(r"m(\d{1,6})", re.ASCII)
_EDGE = re.compile(r"([^<>]+)->([^<>]+?)(<[qkv]>)?")


def is_eap_ig(said: object) -> bool:
    """Whether JSON is such a graph, by its keys."""
    return isinstance(said, dict) and said.keys() >= {"cfg", "nodes", "edges"}


def read_eap_ig(said: At, parts: Parts, threshold: float | None) -> PublishedGraph:
    """The circuit of a graph; ModelError where it is none, or one of another model.

    threshold: the least size of the score of an edge that is in it; None: it says so itself.
    """
    _check_config(said["cfg"], parts)
    flagged, masked = set[str](), set[str]()
    for name, node in said["nodes"].entries():
        _node(node, name, parts)
        if threshold is None and node["in_graph"].truth():
            flagged.add(name)
        neurons = node.get("neurons")
        if neurons is not None and not _every(neurons):
            masked.add(name)
    edges = [ends for ends, at in _edges(said["edges"], parts) if _is_in(at, threshold)]
    found = on_paths(edges, [INPUT], LOGITS)
    if not found:
        raise no_path(said["edges"], len(edges), threshold=threshold)
    idle = (flagged | {name for ends in edges for name in ends}) - found - {INPUT, LOGITS}
    left = [LeftOut(f"{len(edges)} edges", EDGES)]
    if masked & found:
        what = some_of(masked & found, "node")
        left.append(LeftOut(f"which channels {what} write", "each is taken whole"))
    if idle:
        left.append(LeftOut(some_of(idle, "node"), ON_NO_PATH))
    left.append(ENDS)
    named = said["cfg"].get("model_name")
    return PublishedGraph(
        TOOL,
        frozenset(_part(name) for name in found - {INPUT, LOGITS}),
        tuple(left),
        made_on=named.text() if named else "",
    )


def _check_config(config: At, parts: Parts) -> None:
    check_size(config["n_layers"], "layers", config["n_layers"].count(), parts.layers)
    check_size(config["n_heads"], "heads a layer", config["n_heads"].count(), parts.heads)
    width = config.get("d_model")
    if width is not None and parts.width:
        check_size(width, "channels of the residual stream", width.count(), parts.width)


def _node(at: At, name: str, parts: Parts) -> tuple[int, bool, int]:
    """When a forward meets a node, which the model has to have."""
    if name == INPUT:
        return (-1, False, 0)
    if name == LOGITS:
        return (parts.layers, False, 0)
    if not (_HEAD.fullmatch(name) or _MLP.fullmatch(name)):
        raise at.wrong(f"{quoted(name)} is no node: they are called input, a0.h1, m0 and logits")
    part = _part(name)
    return part_at(at, parts, part.layer, part.head).order


def _part(name: str) -> Part:
    if head := _HEAD.fullmatch(name):
        return Part(int(head[1]), int(head[2]))
    return Part(int(name[1:]))


def _edges(said: At, parts: Parts) -> Iterator[tuple[tuple[str, str], At]]:
    order: dict[str, tuple[int, bool, int]] = {}
    for name, at in said.entries():
        edge = _EDGE.fullmatch(name)
        if edge is None:
            raise at.wrong(f"{quoted(name)} is no edge: they are called a0.h1->m0, a0.h1->a1.h2<q>")
        ends = (edge[1], edge[2])
        for end in ends:
            if end not in order:
                order[end] = _node(at, end, parts)
        # Heads of a layer come before its MLP, and none before another.
        if order[ends[0]][:2] >= order[ends[1]][:2]:
            raise at.wrong(f"{quoted(name)} leads backwards")
        if (edge[3] is None) != (_HEAD.fullmatch(ends[1]) is None):
            raise at.wrong(f"{quoted(name)}: edges to heads, and only they, end in <q>, <k> or <v>")
        yield ends, at


def _is_in(edge: At, threshold: float | None) -> bool:
    if threshold is None:
        return edge["in_graph"].truth()
    return abs(edge["score"].number()) >= threshold


def _every(mask: At) -> bool:
    """Whether all entries of a mask are true; that of a head may be one of a whole layer."""
    return all(
        _every(entry) if isinstance(entry.value, list) else entry.truth() for entry in mask.items()
    )


def eap_ig_text(parts: Parts, held: Collection[Part], *, parallel: bool) -> str:
    """The graph in which some heads and MLPs are, and every edge between them, as a line of JSON.

    No scores are known: 1 stands for an edge that is in it, and 0 for another.
    parallel: the MLP of a layer does not read what its heads put out.
    """
    every = [Part(n, head) for n in range(parts.layers) for head in (*range(parts.heads), None)]
    names = {_name(part) for part in held} | {INPUT, LOGITS}
    nodes = {name: {"in_graph": name in names} for name in (INPUT, *map(_name, every), LOGITS)}
    edges = {}
    for source, target, reader in _possible(every, parallel=parallel):
        kept = source in names and target in names
        edges[f"{source}->{target}{reader}"] = {"score": float(kept), "in_graph": kept}
    config = {
        "n_layers": parts.layers,
        "n_heads": parts.heads,
        "parallel_attn_mlp": parallel,
        "d_model": parts.width,
    }
    return json.dumps({"cfg": config, "nodes": nodes, "edges": edges}) + "\n"


def _name(part: Part) -> str:
    return f"m{part.layer}" if part.head is None else f"a{part.layer}.h{part.head}"


def _possible(every: list[Part], *, parallel: bool) -> Iterator[tuple[str, str, str]]:
    """All edges: source, target, and by what a head reads it."""
    for target in every:
        is_mlp = target.head is None
        beside = is_mlp and not parallel
        before = [
            _name(part)
            for part in every
            if part.layer < target.layer
            or (beside and part.layer == target.layer and part.head is not None)
        ]
        for source in (INPUT, *before):
            for reader in ("",) if is_mlp else ("<q>", "<k>", "<v>"):
                yield source, _name(target), reader
    yield from ((source, LOGITS, "") for source in (INPUT, *map(_name, every)))
