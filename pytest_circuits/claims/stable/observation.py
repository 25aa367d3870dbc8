"""What one model shows of a circuit: all that `stable` compares, from a model or from a file.

Two models are compared through two observations on the same prompts, so that a recorded baseline
and the model that it was recorded from lead to the same verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pytest_circuits.circuit.attention import Head, kept_heads, shows_attention
from pytest_circuits.circuit.edges import Edges
from pytest_circuits.circuit.nodes import Nodes, all_nodes
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.view import WHOLE, Shift, View
from pytest_circuits.claims.statistics import TINY, Floats
from pytest_circuits.prompts.space import Pair

MOST_PAIRS = 2_000  # of which both margins are recorded
SIGNAL_PAIRS = 6  # on which a node's signal is recorded, token by token
FEW_PAIRS = 8  # on which effects and attention are looked at
PROBE_PAIRS = 2  # on which lineage is looked at, token by token
MOST_RUNS = 800  # pairs that effects are looked at, of all nodes together
PROBES = 48  # channels that tell whether two models share their beginning


@dataclass(frozen=True, slots=True)
class Prompts:
    """The prompts of an observation, given by the specification alone."""

    rates: tuple[Pair, ...]
    signals: tuple[Pair, ...]
    few: tuple[Pair, ...]
    probes: tuple[Pair, ...]


@dataclass(frozen=True)
class Place:
    """Where a circuit lies in a model.

    order, heads: of a circuit that is matched with one at other addresses, in the order of the
    other one: where each of its nodes stands here, and the heads.
    """

    nodes: Nodes
    edges: Edges | None = None
    shift: Shift | None = None
    order: tuple[int, ...] | None = None
    heads: tuple[Head, ...] | None = None

    @cached_property
    def circuit(self) -> View:
        return View.circuit(self.nodes, self.edges, shift=self.shift)

    @cached_property
    def without(self) -> View:
        return View.without(self.nodes)


@dataclass(frozen=True, slots=True)
class Observation:
    """One circuit in one model: on n pairs for rates, m for signals, f for effects and attention.

    whole, alone, without: margins [n, 2] in nats of the whole model, of the circuit alone and with
    only it ablated.
    signals: [nodes, tokens of m pairs], each node's activation in the whole model.
    effects: [nodes], nats by which the mean margin falls when this node alone is ablated.
    attention: [heads, 2f, T], of every head with a kept value, from the last token.
    probes, probed: channels all over the model, and their signals [probes, tokens of p pairs].
    repruned: what the pruner finds anew, once a seed, where that is asked for.
    """

    whole: Floats
    alone: Floats
    without: Floats
    signals: Floats
    effects: Floats
    attention: Floats
    probes: Nodes
    probed: Floats
    repruned: tuple[Nodes, ...] = ()


def observe(
    runner: Runner, place: Place, prompts: Prompts, *, probes: Nodes | None = None
) -> Observation:
    """What a model shows of a circuit.

    probes: those of the model that it is to be compared with; None: the model's own, by which
    others are to be measured.
    """
    nodes = place.nodes
    order = np.arange(nodes.count) if place.order is None else np.array(place.order)
    heads = place.heads
    if heads is None:
        heads = kept_heads(nodes, runner.model) if shows_attention(runner.model) else ()
    probes = choose_probes(runner, prompts.probes) if probes is None else probes
    return Observation(
        whole=runner.margins(prompts.rates, WHOLE),
        alone=runner.margins(prompts.rates, place.circuit),
        without=runner.margins(prompts.rates, place.without),
        signals=runner.signals(prompts.signals, nodes)[order],
        effects=node_effects(runner, nodes, _affordable(prompts.few, nodes.count))[order],
        attention=runner.attention(prompts.few, heads),
        probes=probes,
        probed=runner.signals(prompts.probes, probes),
    )


def _affordable(pairs: Sequence[Pair], nodes: int) -> Sequence[Pair]:
    """So many pairs that ablating one node after the other stays quick for large circuits, too."""
    return pairs[: max(1, MOST_RUNS // max(1, nodes))]


def node_effects(runner: Runner, nodes: Nodes, pairs: Sequence[Pair]) -> Floats:
    """How much each node does in the whole model, [nodes]: nats of the mean margin that it adds.

    The effect of a node is direct and indirect at once: everything after it sees that it is gone.
    """
    views = [View.without(Nodes.of({hook: [channel]})) for hook, channel in nodes]
    whole = runner.margins(pairs, WHOLE).mean()
    effects: Floats = whole - runner.margins_many(pairs, views).mean(axis=(1, 2))
    return effects


def choose_probes(runner: Runner, pairs: Sequence[Pair]) -> Nodes:
    """The channels of a model that these prompts move most, spread evenly over its hook points."""
    every = all_nodes(runner.model)
    signals = runner.signals(pairs, every)
    moved = signals.std(axis=1)
    ranked: list[tuple[int, float, tuple[str, int]]] = []
    start = 0
    for hook, width in every.shape.items():
        here = moved[start : start + width]
        start += width
        best = np.argsort(-here, kind="stable")
        ranked += [
            (rank, -here[i], (hook, int(i))) for rank, i in enumerate(best) if here[i] > TINY
        ]
    return Nodes.gather(node for *_, node in sorted(ranked)[:PROBES])
