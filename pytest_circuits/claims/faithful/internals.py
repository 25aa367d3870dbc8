"""What a circuit carries when it runs alone, beside what the whole model carries there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pytest_circuits.circuit.attention import Head
from pytest_circuits.circuit.encoding import Floats, floats
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.side_by_side import Seen, run_beside
from pytest_circuits.circuit.view import WHOLE, View, cut_weights, keep_masks
from pytest_circuits.claims import statistics
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.stable.observation import node_effects
from pytest_circuits.claims.statistics import softplus

SHARES = (0.25, 0.5, 0.75)  # of the kept nodes that are given the whole model's values
DRAWS = 2  # random choices of the nodes for each share
SIGNAL = 0.05  # of a node's largest activation: a smaller difference between cues is no role


@dataclass(frozen=True, slots=True)
class Inside:
    """One circuit beside the whole model, on n pairs.

    frozen: task loss [n] with the norm scales of the whole model. interchanged: [shares, n], with
    some nodes given its values. correlations: [nodes]; weights: [nodes], each one's share of the
    effects on the whole model. contrasts: [2, nodes, n], first minus
    second member of each pair, in the whole model and in the circuit; zero where it is no signal.
    attention: [heads, n], how far the heads' attention is from that in the whole model, in total
    variation; uneven: the same between the whole model's attention and an even one.
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
        """Mean correlation of the nodes' activations, weighted by their effects."""
        return float(self.weights @ self.correlations)


@torch.inference_mode()
def look_inside(bench: Bench) -> Inside:
    """Run the circuit beside the whole model."""
    model, runner, nodes = bench.model, bench.runner, bench.nodes
    pairs = bench.gap_pairs
    given = [Nodes.of({}), Nodes.of({}), *_interchanges(bench)]
    views = [WHOLE, *[bench.circuit] * len(given)]
    keep, cuts = keep_masks(views, model), cut_weights(views, model)
    taken = keep_masks([View.circuit(Nodes.of({})), *map(View.circuit, given)], model)
    frozen = [False, False, True, *[False] * (len(given) - 2)]
    heads = bench.heads
    losses = np.empty((len(views), 2 * len(pairs)))
    tokens: list[Floats] = []  # each [2, nodes, tokens of the batch]
    means = np.empty((2, nodes.count, 2 * len(pairs)))
    attention, uneven = np.empty((2, len(heads), 2 * len(pairs)))
    for indexes, batch, fill in runner.batches(pairs):
        logits, seen = run_beside(
            model,
            batch.tokens,
            at=batch.last,
            keep=keep,
            fill=fill,
            cuts=cuts,
            taken=taken,
            frozen=frozen,
            record=nodes,
        )
        chosen = floats(batch.preferences(logits))
        losses[:, indexes] = softplus(chosen[..., 0] - chosen[..., 1])
        attention[:, indexes], uneven[:, indexes] = _distances(seen, heads, batch.last)
        here, means[:, :, indexes] = _activations(seen, nodes, batch.last)
        tokens.append(here)
    runner.forwards += len(views) * 2 * len(pairs)
    by_pair = losses.reshape(len(views), len(pairs), 2).mean(axis=2)  # [K, n]
    return Inside(
        frozen=by_pair[2],
        interchanged=by_pair[3:].reshape(len(SHARES), DRAWS, -1).mean(axis=1),
        correlations=statistics.correlations(*np.concatenate(tokens, axis=2)),
        weights=statistics.shares(node_effects(runner, nodes, bench.control_pairs)),
        contrasts=_contrasts(means),
        heads=heads,
        attention=attention.reshape(len(heads), len(pairs), 2).mean(axis=2),
        uneven=uneven.reshape(len(heads), len(pairs), 2).mean(axis=2),
    )


def _interchanges(bench: Bench) -> Iterator[Nodes]:
    """Nodes that are given the whole model's values, DRAWS times for each share."""
    every = list(bench.nodes)
    rng = bench.random(stream=4)
    for share in SHARES:
        for _ in range(DRAWS):
            chosen = rng.permutation(len(every))[: round(share * len(every))]
            yield Nodes.gather(every[index] for index in chosen)


def _activations(seen: Seen, nodes: Nodes, last: Tensor) -> tuple[Floats, Floats]:
    """The nodes at all real tokens in a row, [2, nodes, tokens], and means [2, nodes, B]."""
    rows, means = [], []
    for hook in nodes.shape:
        x = seen.nodes[hook].double()  # [2, B, T or 1, channels]
        length = int(last.max()) + 1
        x = x.expand(-1, -1, length, -1) if x.shape[2] == 1 else x[:, :, :length]
        real = torch.arange(length, device=last.device) <= last[:, None]  # [B, T]
        rows.append(x[:, real].transpose(1, 2))
        means.append(((x * real[..., None]).sum(2) / real.sum(1)[:, None]).transpose(1, 2))
    return floats(torch.cat(rows, dim=1)), floats(torch.cat(means, dim=1))


def _contrasts(means: Floats) -> Floats:
    """[2, nodes, 2n] -> first minus second member of each pair, [2, nodes, n]."""
    size = np.abs(means).max(axis=2, initial=0)[..., None]
    contrast: Floats = means[..., 0::2] - means[..., 1::2]
    loud = np.abs(contrast.mean(axis=2, keepdims=True)) > SIGNAL * size + statistics.TINY
    return np.where(loud, contrast, 0.0)


def _distances(seen: Seen, heads: tuple[Head, ...], last: Tensor) -> tuple[Floats, Floats]:
    """How far each head's attention is from the whole model's, and that from an even one.

    Both are total variations, [heads, B]; what goes to the sink counts as one more token.
    """
    apart, uneven = [], []
    for layer, head in heads:
        whole, alone = seen.weights[layer][:, :, head].double()  # each [B, T]
        real = torch.arange(whole.shape[1], device=last.device) <= last[:, None]
        even = real * whole.sum(1, keepdim=True) / real.sum(1, keepdim=True)
        sink = (whole.sum(1) - alone.sum(1)).abs()
        apart.append(((whole - alone).abs().sum(1) + sink) / 2)
        uneven.append((whole - even).abs().sum(1) / 2)
    if not heads:
        return np.empty((0, len(last))), np.empty((0, len(last)))
    return floats(torch.stack(apart)), floats(torch.stack(uneven))
