"""What a circuit carries when it runs alone, beside what the whole model carries there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pytest_circuits.circuit import inside
from pytest_circuits.circuit.attention import Head
from pytest_circuits.circuit.encoding import Floats
from pytest_circuits.circuit.nodes import Node
from pytest_circuits.circuit.view import WHOLE
from pytest_circuits.claims import statistics
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.claims.stable.observation import node_effects
from pytest_circuits.claims.statistics import GAPS, softplus
from pytest_circuits.spec.types import FaithfulClaim


@dataclass(frozen=True, slots=True)
class Inside:
    """One circuit beside the whole model, on n pairs.

    frozen: task loss [n] with the norm scales of the whole model. interchanged: [shares, n], with
    some nodes given its values. correlations: [nodes], of what each carries beyond its ablated
    value; weights: [nodes], each one's share of the effects on the whole model. contrasts:
    [2, nodes, n], first minus second member of each pair, in the whole model and in the circuit;
    zero where it is no signal. attention, uneven: [heads, n] as in `circuit.inside`.
    """

    frozen: Floats
    interchanged: Floats
    correlations: Floats
    weights: Floats
    contrasts: Floats
    heads: tuple[Head, ...]  # of every kept value
    attention: Floats
    uneven: Floats

    @property
    def correlation(self) -> float:
        """Mean correlation of what the nodes carry, weighted by their effects."""
        return float(self.weights @ self.correlations)


def look_inside(bench: Bench) -> Inside:
    """Run the circuit beside the whole model."""
    seen = inside.look_inside(
        bench.runner,
        bench.circuit,
        bench.gap_pairs,
        heads=bench.heads,
        given=[*inside.interchanges(bench.nodes, bench.random(stream=4))],
    )
    losses = softplus(seen.interchanged).mean(axis=2)  # [shares * draws, n]
    return Inside(
        frozen=softplus(seen.frozen).mean(axis=1),
        interchanged=losses.reshape(len(inside.SHARES), inside.DRAWS, -1).mean(axis=1),
        correlations=seen.correlations,
        weights=statistics.shares(node_effects(bench.runner, bench.nodes, bench.control_pairs)),
        contrasts=inside.contrasts_of(seen.means),
        heads=bench.heads,
        attention=seen.attention,
        uneven=seen.uneven,
    )


def unlike(bench: Bench, effects: Mapping[Node, float], limits: FaithfulClaim) -> bool:
    """Whether a circuit is shown not to run as the whole model does: attention, norms, nodes.

    effects: of its nodes, and perhaps others, on the whole model.
    """
    seen = inside.look_inside(bench.runner, bench.circuit, bench.gap_pairs, heads=bench.heads)
    own = softplus(bench.runner.margins(bench.gap_pairs, WHOLE)).mean(axis=1)
    weights = statistics.shares(np.array([effects[node] for node in bench.nodes]))
    if float(weights @ seen.correlations) < limits.min_correlation:
        return True
    gaps = softplus(seen.frozen).mean(axis=1) - own
    measured = [(gaps, GAPS, limits.max_gap)]
    measured += [(apart, statistics.SHARES, limits.max_attention) for apart in seen.attention]
    return any(
        statistics.at_most(bench.gap_mean(values, within), most) is Verdict.FAIL
        for values, within, most in measured
        if values.max() > most  # else no mean is, and bounds take longer
    )
