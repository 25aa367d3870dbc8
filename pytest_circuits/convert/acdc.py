"""Edges of ACDC as JSON: rows of a receiver with its index and a sender with its index.

    ["blocks.1.hook_q_input", [null, null, 3], "blocks.0.attn.hook_result", [null, null, 5], true]

A row may end in whether its edge is in the circuit, or in the size of its effect. A head takes part
where its queries, keys or values are computed from what they read: that is an edge of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

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

TOOL = "ACDC"
_BLOCK = re.compile(r"blocks\.(\d{1,6})\.(\S+)", re.ASCII)
_READS = {f"hook_{x}_input": f"attn.hook_{x}" for x in "qkv"}
_OF_HEADS = {*_READS, *_READS.values(), "attn.hook_result"}
_MLP_IN, _MLP_OUT, _HEAD_OUT = "hook_mlp_in", "hook_mlp_out", "attn.hook_result"
_INPUT, _OUTPUT = "input", "output"

Hook: TypeAlias = tuple[str, int, int | None]  # what it is, layer, head


def is_acdc(said: object) -> bool:
    """Whether JSON is such a list, by its first row."""
    match said:
        case [[str(), list(), str(), list(), *_], *_] | [[[str(), list(), str(), list()], _], *_]:
            return True
    return False


def read_acdc(said: At, parts: Parts, threshold: float | None) -> PublishedGraph:
    """The circuit that the edges are; ModelError where they are none, or of another model.

    threshold: the least size of the effect of an edge that is in it; None: those that are listed,
    and not with `false`.
    """
    edges, computed = [], False
    for row in said.items():
        fields = row.items()
        if len(fields) == 2 and isinstance(fields[0].value, list):  # [[...], value]
            fields = [*fields[0].items(), fields[1]]
        if len(fields) not in {4, 5}:
            raise row.wrong("expected a receiver, its index, a sender, its index and a value")
        receiver, sender = (_hook(fields[n], fields[n + 1], parts) for n in (0, 2))
        computed |= sender[0] in _READS and receiver[0] == _READS[sender[0]]
        if _is_in(row, fields[4:], threshold):
            edges.append((sender, receiver))
    inside = {hook for ends in edges for hook in ends}
    ways = [*edges, *_given(inside, computed=computed)]
    start: Hook = (_INPUT, 0, None)
    found = on_paths(ways, [start], (_OUTPUT, parts.layers - 1, None))
    if not found:
        raise no_path(said, len(edges), threshold=threshold)
    kept = {part for hook in found if (part := _part(hook))}
    idle = {part for hook in inside if (part := _part(hook))} - kept
    left = [LeftOut(f"{len(edges)} edges", EDGES)]
    if idle:
        left.append(LeftOut(some_of([*map(str, idle)], "node"), ON_NO_PATH))
    left.append(ENDS)
    return PublishedGraph(TOOL, frozenset(kept), tuple(left))


def _hook(name: At, index: At, parts: Parts) -> Hook:
    text = name.text()
    if text in {"hook_embed", "hook_pos_embed", "blocks.0.hook_resid_pre"}:
        return (_INPUT, 0, None)
    block = _BLOCK.fullmatch(text)
    known = {*_OF_HEADS, _MLP_IN, _MLP_OUT, "hook_resid_mid", "hook_resid_post"}
    if block is None or block[2] not in known:
        raise name.wrong(f"{quoted(text)} is no place that ACDC has edges between")
    layer, what = int(block[1]), block[2]
    head = _head(index) if what in _OF_HEADS else None
    part_at(name, parts, layer, head)
    if what == "hook_resid_post":
        check_size(name, "layers", layer + 1, parts.layers)
        return (_OUTPUT, layer, None)
    return ({"hook_resid_mid": _MLP_IN}.get(what, what), layer, head)  # its older name


def _head(index: At) -> int:
    match index.items():
        case [*first, last] if all(at.value is None for at in first):
            return last.count()
    raise index.wrong("expected the index of a head, such as [null, null, 3]")


def _is_in(row: At, said: list[At], threshold: float | None) -> bool:
    if threshold is not None:
        if not said or isinstance(said[0].value, bool):
            raise row.wrong("has no size of its effect, which --threshold needs")
        return abs(said[0].number()) >= threshold
    if said and not isinstance(said[0].value, bool):
        said[0].number()
        return True
    return not said or said[0].truth()


def _given(inside: set[Hook], *, computed: bool) -> Iterator[tuple[Hook, Hook]]:
    """What is computed within a head or an MLP, whether it is listed or not."""
    for what, layer, head in inside:
        if what == _MLP_IN:
            yield (what, layer, head), (_MLP_OUT, layer, head)
        elif what in _READS:
            if not computed:  # of a file that does not list how heads read
                yield (what, layer, head), (_READS[what], layer, head)
                yield (_READS[what], layer, head), (_HEAD_OUT, layer, head)
        elif what in _READS.values():
            yield (what, layer, head), (_HEAD_OUT, layer, head)


def _part(hook: Hook) -> Part | None:
    what, layer, head = hook
    if head is not None:
        return Part(layer, head)
    return Part(layer) if what in {_MLP_IN, _MLP_OUT} else None
