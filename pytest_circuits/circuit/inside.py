"""What a circuit carries and attends to when it runs alone, beside the whole model.

Letters in shapes: n pairs, B prompts of a batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pytest_circuits.circuit.attention import Head
from pytest_circuits.circuit.divided import counted
from pytest_circuits.circuit.encoding import Batch, Floats, floats
from pytest_circuits.circuit.interventions import of_asked_tokens
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.side_by_side import Seen, channels_of, run_beside, size_of
from pytest_circuits.circuit.view import WHOLE, View, cut_weights, keep_masks
from pytest_circuits.model.protocol import Model
from pytest_circuits.prompts.space import Pair

SHARES = (0.25, 0.5, 0.75)  # of the kept nodes that are given the whole model's values
DRAWS = 2  # random choices of the nodes for each share
SIGNAL = 0.05  # of a node's largest activation: a smaller difference between cues is no role
_TINY = 1e-6  # a signal smaller than this is silence
_SILENCE = 1e-12  # the square of a signal that is none


@dataclass(frozen=True, slots=True)
class Inside:
    """One circuit beside the whole model, on n pairs.

    frozen: margins [n, 2] with the norm scales of the whole model. interchanged: [K, n, 2], with
    some nodes given its values. correlations: [nodes], of what each carries beyond its ablated
    value. means: [2, nodes, n, 2], what each carries in the mean over a prompt's tokens, in the
    whole model and in the circuit. attention: [heads, n], how far the heads' attention is from
    that in the whole model, in total variation; uneven: the same between the whole model's
    attention and an even one.
    """

    frozen: Floats
    interchanged: Floats
    correlations: Floats
    means: Floats
    attention: Floats
    uneven: Floats


@torch.inference_mode()
def look_inside(
    runner: Runner,
    circuit: View,
    pairs: Sequence[Pair],
    *,
    heads: Sequence[Head] = (),
    given: Sequence[Nodes] = (),
) -> Inside:
    """Run a circuit beside the whole model.

    heads: whose attention is compared. given: nodes that get the whole model's values, K times.
    """
    model, nodes = runner.model, circuit.nodes
    taken = [Nodes.of({}), Nodes.of({}), *given]
    views = [WHOLE, *[circuit] * len(taken)]
    keep, cuts = keep_masks(views, model), cut_weights(views, model)
    own = keep_masks([View.circuit(Nodes.of({})), *map(View.circuit, taken)], model)
    frozen = [False, False, True, *[False] * len(given)]
    margins = np.empty((len(views), 2 * len(pairs)))
    products = np.zeros((3, nodes.count))
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
            taken=own,
            frozen=frozen,
            record=nodes,
        )
        chosen = floats(batch.preferences(logits))
        margins[:, indexes] = chosen[..., 0] - chosen[..., 1]
        attention[:, indexes], uneven[:, indexes] = _distances(seen, heads, batch.last)
        means[:, :, indexes] = _means(model, seen, nodes, batch)
        products += _products(model, seen, nodes, fill, batch)
    runner.forwards += len(views) * 2 * len(pairs)
    by_pair = margins.reshape(len(views), len(pairs), 2)
    return Inside(
        frozen=by_pair[2],
        interchanged=by_pair[3:],
        correlations=_alike(*products),
        means=means.reshape(2, nodes.count, len(pairs), 2),
        attention=attention.reshape(len(heads), len(pairs), 2).mean(axis=2),
        uneven=uneven.reshape(len(heads), len(pairs), 2).mean(axis=2),
    )


def interchanges(nodes: Nodes, rng: np.random.Generator) -> Iterator[Nodes]:
    """Some of a circuit's nodes, to be given the whole model's values: DRAWS times each share."""
    every = list(nodes)
    for share in SHARES:
        for _ in range(DRAWS):
            chosen = rng.permutation(len(every))[: round(share * len(every))]
            yield Nodes.gather(every[index] for index in chosen)


def contrasts_of(means: Floats) -> Floats:
    """[2, nodes, n, 2] -> first minus second member of each pair, [2, nodes, n]; 0: no signal."""
    size = np.abs(means).max(axis=(2, 3), initial=0)[..., None]
    contrast: Floats = means[..., 0] - means[..., 1]
    loud = np.abs(contrast.mean(axis=2, keepdims=True)) > SIGNAL * size + _TINY
    return np.where(loud, contrast, 0.0)


def _means(model: Model, seen: Seen, nodes: Nodes, batch: Batch) -> Floats:
    """What each node carries where it counts in a prompt, in the mean: [2, nodes, B]."""
    means = []
    for name in nodes.shape:
        x = size_of(seen.nodes[name]).double()
        x, real = _at_real(x, batch.last, counted(model, name, batch.tokens, batch.last))
        count = real.sum(1).clamp(min=1)
        means.append(((x * real[..., None]).sum(2) / count[:, None]).transpose(1, 2))
    return floats(torch.cat(means, dim=1))


def _products(
    model: Model, seen: Seen, nodes: Nodes, fill: Mapping[str, Tensor], batch: Batch
) -> Floats:
    """Inner products of what each node carries beyond its ablated value, where it counts.

    [3, nodes]: in the whole model with itself, in the circuit with itself, and of the two.
    """
    found, last = [], batch.last
    for name, channels in nodes.channels:
        x = seen.nodes[name].double()  # [2, B, T or 1, nodes, channels]
        ablated = of_asked_tokens(fill[name], last) if x.shape[2] == 1 else fill[name]
        beyond = x - channels_of(model, name, ablated.to(x), channels)
        beyond, real = _at_real(beyond, last, counted(model, name, batch.tokens, last))
        whole, alone = beyond * real[..., None, None]
        pairs = ((whole, whole), (alone, alone), (whole, alone))
        found.append(torch.stack([(a * b).sum((0, 1, 3)) for a, b in pairs]))
    return floats(torch.cat(found, dim=1))


def _at_real(x: Tensor, last: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
    """Values [2, B, T or 1, ...] at all tokens, and which of these count, of `there` [B, T].

    What is computed at the asked token alone is the same for all of them.
    """
    length = int(last.max()) + 1
    shape = (-1, -1, length, *[-1] * (x.dim() - 3))
    x = x.expand(shape) if x.shape[2] == 1 else x[:, :, :length]
    return x, there[:, :length]


def _alike(whole: Floats, alone: Floats, both: Floats) -> Floats:
    """Cosines [nodes] of two signals from their inner products [nodes], floored at 0.

    What is none in both is the same; what is none in one alone is unrelated.
    """
    none = np.minimum(whole, alone) < _SILENCE
    cosines = np.maximum(both, 0) / np.sqrt(np.where(none, 1, whole * alone))
    found: Floats = np.where(none, np.maximum(whole, alone) < _SILENCE, cosines)
    return found


def _distances(seen: Seen, heads: Sequence[Head], last: Tensor) -> tuple[Floats, Floats]:
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
