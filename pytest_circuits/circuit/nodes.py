"""A set of nodes: which channels of which hook points belong to a circuit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pytest_circuits.model.protocol import Model

Key = TypeVar("Key")
Value = TypeVar("Value")
Node = tuple[str, int]  # a hook point, and a channel of it


@dataclass(frozen=True, slots=True)
class Nodes:
    """Channels by hook point, sorted; equal sets of nodes are equal values."""

    channels: tuple[tuple[str, tuple[int, ...]], ...]

    @classmethod
    def of(cls, channels: Mapping[str, Sequence[int]]) -> Nodes:
        """Nodes from `{hook point: channels}`; empty hook points are dropped."""
        kept = {hook: tuple(sorted(set(channels[hook]))) for hook in sorted(channels)}
        return cls(tuple((hook, found) for hook, found in kept.items() if found))

    @classmethod
    def gather(cls, nodes: Iterable[Node]) -> Nodes:
        """Nodes from pairs of a hook point and a channel."""
        return cls.of(grouped(nodes))

    @property
    def count(self) -> int:
        return sum(len(channels) for _, channels in self.channels)

    @property
    def shape(self) -> dict[str, int]:
        return {hook: len(channels) for hook, channels in self.channels}

    def at(self, hook: str) -> tuple[int, ...]:
        return dict(self.channels).get(hook, ())

    def ids(self) -> list[str]:
        """Names as `node_id` gives them, in the order of the set."""
        return [node_id(hook, channel) for hook, channel in self]

    def without(self, hook: str, channel: int) -> Nodes:
        return Nodes.gather(node for node in self if node != (hook, channel))

    def __iter__(self) -> Iterator[Node]:
        for hook, channels in self.channels:
            for channel in channels:
                yield hook, channel


def node_id(hook: str, channel: int | str) -> str:
    """How texts call a node: `0.mlp.post_act[31]`, with its place `5.attn.head[3] at cue`."""
    site, space, place = hook.partition(" ")
    return f"{site}[{channel}]{space}{place}"


def node_called(name: str) -> Node | None:
    """The node that texts call so; None where it is none."""
    address, space, place = name.partition(" ")
    site, _, channel = address.rstrip("]").rpartition("[")
    return (f"{site}{space}{place}", int(channel)) if site and channel.isdecimal() else None


def grouped(pairs: Iterable[tuple[Key, Value]]) -> dict[Key, list[Value]]:
    found: defaultdict[Key, list[Value]] = defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return dict(found)


def all_nodes(model: Model) -> Nodes:
    return Nodes.of({name: range(site.width) for name, site in model.sites.items()})


def upstream(nodes: Nodes, model: Model) -> Nodes:
    """The nodes but those that write the residual stream, or are it at last."""
    return Nodes.gather((name, i) for name, i in nodes if not model.sites[name].is_output)


def places(nodes: Iterable[Node], model: Model) -> list[tuple[int, int]]:
    """Where nodes stand in a forward, in its order: the number of a site, and a channel of it."""
    number = {name: i for i, name in enumerate(model.sites)}
    return sorted((number[name], channel) for name, channel in nodes)


def in_forward_order(nodes: Iterable[Node], model: Model) -> list[Node]:
    """The nodes as a forward meets them: circuits that stand together begin alike."""
    names = list(model.sites)
    return [(names[number], channel) for number, channel in places(nodes, model)]
