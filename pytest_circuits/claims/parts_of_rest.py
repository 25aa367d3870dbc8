"""Parts of the rest that are ablated while the circuit stays: random ones, and the worst found.

One part serves all prompts: an ablation chosen prompt by prompt could exploit their noise. The
search for the worst sees other prompts than those on which its result is judged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pytest_circuits.circuit.rest import Part, Rest, part_gradients
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.view import View
from pytest_circuits.claims.statistics import Floats, softplus
from pytest_circuits.prompts.space import Pair

FRACTIONS = tuple(tenth / 10 for tenth in range(1, 11))  # of the rest that a random part ablates
PER_FRACTION = 3  # random parts of each
ATTACKED = 8  # pairs on which the worst part is looked for
STARTS = 3
STEPS = 3
FLIPS = (1, 8, 64, 512)  # elements that a candidate changes, the most promising first
SEARCHED = 2 * ATTACKED * STARTS * (1 + STEPS * (1 + len(FLIPS)))  # prompt-forwards, at most


def random_parts(size: int, rng: np.random.Generator) -> list[Part]:
    """Random parts of each fraction of the rest in turn; the last ones are all of it."""
    parts = []
    for fraction in FRACTIONS:
        for _ in range(PER_FRACTION):
            part = np.zeros(size, dtype=np.bool_)
            part[rng.permutation(size)[: round(fraction * size)]] = True
            parts.append(part)
    return parts


def parts_margins(
    runner: Runner, rest: Rest, pairs: Sequence[Pair], parts: Sequence[Part]
) -> Floats:
    """Margins with each of the random parts ablated, [fractions, draws, n, 2]."""
    margins = runner.margins_many(pairs, [rest.without(part) for part in parts])
    return margins.reshape(len(FRACTIONS), PER_FRACTION, -1, 2)


def find_worst(
    runner: Runner, rest: Rest, pairs: Sequence[Pair], parts: Sequence[Part], margins: Floats
) -> View:
    """The model without the worst part that a bounded search finds.

    It starts from nothing, from all of the rest and from the worst of the random parts, whose
    margins are given, and looks at `pairs`.
    """
    losses = softplus(margins).mean(axis=(2, 3)).reshape(-1)  # [fractions * draws]
    losses = np.where(np.isfinite(losses), losses, np.inf)
    nothing = np.zeros(rest.size, dtype=np.bool_)
    starts = [nothing, ~nothing, parts[int(np.argmax(losses))]]
    return rest.without(_worst_from(runner, pairs, rest, starts))


def _worst_from(runner: Runner, pairs: Sequence[Pair], rest: Rest, starts: Sequence[Part]) -> Part:
    """A part of the rest with as high a task loss, on these pairs, as a few steps can reach.

    Each step takes the gradient of the loss by the ablation of every element, from each of the
    starts at once, and tries to change the most promising few, some and many elements; what hurts
    most becomes the next start. All candidates of a step share their forwards. Ties go to the
    earlier candidate, so that the result is a function of the arguments.
    """
    parts = list(starts)
    losses = _losses(runner, pairs, rest, parts)
    for _ in range(STEPS):
        gains = _gains(runner, pairs, rest, parts)  # [K, size]
        candidates = [_promising(part, gain) for part, gain in zip(parts, gains, strict=True)]
        flat = [part for several in candidates for part in several]
        if not flat:
            break
        found = iter(_losses(runner, pairs, rest, flat))
        for k, several in enumerate(candidates):
            for part in several:
                loss = next(found)
                if loss > losses[k]:
                    parts[k], losses[k] = part, loss
    return parts[int(np.argmax(losses))]


def _losses(runner: Runner, pairs: Sequence[Pair], rest: Rest, parts: Sequence[Part]) -> Floats:
    """Task loss in nats of each of K parts ablated, [K]; what is not a number hurts without end."""
    margins = runner.margins_many(pairs, [rest.without(part) for part in parts])
    losses = softplus(margins).mean(axis=(1, 2))
    return np.where(np.isfinite(losses), losses, np.inf)


def _gains(runner: Runner, pairs: Sequence[Pair], rest: Rest, parts: Sequence[Part]) -> Floats:
    """How much the loss should grow, to first order, when an element is changed: [K, size]."""
    slopes = loss_slopes(runner, pairs, rest, parts)
    return np.where(np.stack(parts), -slopes, slopes)


def loss_slopes(runner: Runner, pairs: Sequence[Pair], rest: Rest, parts: Sequence[Part]) -> Floats:
    """How the summed loss grows with the ablation of each element, at K parts: [K, size]."""
    slopes = np.zeros((len(parts), rest.size))
    for _, batch, fill in runner.batches(pairs):
        slopes += part_gradients(runner.model, batch, fill, rest, parts)
    runner.forwards += 2 * len(pairs) * len(parts)
    return slopes


def _promising(part: Part, gain: Floats) -> list[Part]:
    """Parts that differ in the elements with the largest gains, as long as these are gains."""
    order, useful = np.argsort(-gain, kind="stable"), int((gain > 0).sum())
    counts = dict.fromkeys(min(flips, useful) for flips in FLIPS)
    return [flipped(part, order[:count]) for count in counts if count]


def flipped(part: Part, indexes: Sequence[int] | NDArray[np.int64]) -> Part:
    changed = part.copy()
    changed[indexes] ^= True
    return changed
