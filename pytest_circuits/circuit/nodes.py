"""A set of nodes: which channels of which hook points belong to a circuit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_circuits.model.protocol import Model

Node = tuple[str, int]  # a hook point, and a channel of it


@dataclass(frozen=True, slots=True)
class Nodes:
    """Channels by hook point, sorted; equal sets of nodes are equal values."""

    channels: tuple[tuple[str, tuple[int, ...]], ...]

    @classmethod
    def of(cls, channels: Mapping[str, Sequence[int]]) -> Nodes:
        """Nodes from `{hook point: channels}`; empty hook points are dropped."""
        return cls(
            tuple(
                (hook, tuple(sorted(set(channels[hook]))))
                for hook in sorted(channels)
                if channels[hook]
            )
        )

    @classmethod
    def gather(cls, nodes: Iterable[Node]) -> Nodes:
        """Nodes from pairs of a hook point and a channel."""
        channels: defaultdict[str, list[int]] = defaultdict(list)
        for hook, channel in nodes:
            channels[hook].append(channel)
        return cls.of(channels)

    @property
    def count(self) -> int:
        """Number of nodes."""
        return sum(len(channels) for _, channels in self.channels)

    @property
    def shape(self) -> dict[str, int]:
        """Number of nodes at each hook point that has any."""
        return {hook: len(channels) for hook, channels in self.channels}

    def at(self, hook: str) -> tuple[int, ...]:
        """The channels kept at one hook point."""
        return dict(self.channels).get(hook, ())

    def ids(self) -> list[str]:
        """Names such as `0.mlp.post_act[31]`, in the order of the set."""
        return [f"{hook}[{channel}]" for hook, channel in self]

    def without(self, hook: str, channel: int) -> Nodes:
        """The same set without one node."""
        kept = {h: [c for c in cs if (h, c) != (hook, channel)] for h, cs in self.channels}
        return Nodes.of(kept)

    def __iter__(self) -> Iterator[Node]:
        for hook, channels in self.channels:
            for channel in channels:
                yield hook, channel


def all_nodes(model: Model) -> Nodes:
    """Every node of a model."""
    return Nodes.of({name: range(site.width) for name, site in model.sites.items()})
