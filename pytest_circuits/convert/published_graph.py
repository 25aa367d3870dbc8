"""What a circuit of another tool comes to: heads and MLPs, and what else its file has.

Such a circuit is a graph. A node of it counts where a path of its edges leads through it, from what
the model reads to what it puts out; what is on none receives or gives nothing but what ablation
puts in its place.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from pytest_circuits.convert.json_places import At
from pytest_circuits.convert.parts import Part, Parts
from pytest_circuits.spec.problems import quoted

Key = TypeVar("Key")
_NAMED = 4  # of what is left out, by name


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that a file has and the specification has not."""

    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


EDGES = "the nodes that they lead through stand for them"
ENDS = LeftOut("input and logits", "they are no nodes here: neither is ever ablated")
ON_NO_PATH = "no path of its edges leads through them from the input to the logits"


@dataclass(frozen=True, slots=True)
class PublishedGraph:
    """The circuit in a file of another tool, checked against a model."""

    tool: str  # that wrote it
    parts: frozenset[Part]
    left_out: tuple[LeftOut, ...]
    heads: bool = True  # heads are among its nodes: those that are not in it are ablated
    made_on: str = ""  # what the file calls its model


def check_size(at: At, what: str, said: int, model: int) -> None:
    """Refuse a file that is about a model of another size."""
    if said != model:
        raise at.wrong(f"the circuit of another model: {said} {what}, and this one has {model}")


def part_at(at: At, parts: Parts, layer: int, head: int | None = None) -> Part:
    """A head or MLP that a file names, which the model has to have."""
    if layer >= parts.layers:
        raise at.wrong(f"names layer {layer}; the model has {parts.layers}, counted from 0")
    if head is not None and parts.heads and head >= parts.heads:
        raise at.wrong(f"names head {head}; the model has {parts.heads} a layer, counted from 0")
    return Part(layer, head)


def on_paths(edges: Iterable[tuple[Key, Key]], starts: Collection[Key], end: Key) -> set[Key]:
    """The nodes through which edges lead from a start to the end."""
    after, before = defaultdict[Key, list[Key]](list), defaultdict[Key, list[Key]](list)
    for source, target in edges:
        after[source].append(target)
        before[target].append(source)
    forward: set[Key] = _reached(starts, after)
    backward: set[Key] = _reached([end], before)
    return forward & backward


def _reached(starts: Iterable[Key], ways: Mapping[Key, list[Key]]) -> set[Key]:
    found, new = set(starts), list(starts)
    while new:
        for key in ways.get(new.pop(), ()):
            if key not in found:
                found.add(key)
                new.append(key)
    return found


def no_path(at: At, edges: int, *, threshold: float | None) -> Exception:
    """Why nothing is in the circuit of a file."""
    which = "are in the circuit" if threshold is None else f"score {threshold:g} or more"
    other = "name a --threshold" if threshold is None else "name a lower --threshold"
    return at.wrong(
        f"no path leads from the input to the logits along the edges that {which} ({edges}); "
        f"{other}, if the scores say which they are"
    )


def some_of(names: Collection[str], what: str) -> str:
    """How many, and the first of them by name: `7 heads (a0.h1, a0.h2, ...)`."""
    first = [short(name) for name in sorted(names)[:_NAMED]]
    more = ", ..." * (len(names) > len(first))
    return f"{len(names)} {what}{'s' * (len(names) != 1)} ({', '.join(first)}{more})"


def short(text: str) -> str:
    """A name that a stranger gave, as a terminal and a specification may show it."""
    return quoted(text).strip("'")
