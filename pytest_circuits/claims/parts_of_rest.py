"""Parts of the rest that are ablated while the circuit stays: random ones, and the worst found.

One part serves all prompts: an ablation chosen prompt by prompt could exploit their noise. The
search for the worst sees other prompts than those on which its result is judged. It measures what
it proposes, many elements one by one: to first order the largest effects are ranked badly.

Under `contrast` what is common to both prompts of a pair stays as it is, and what tells them apart
is taken away: there no part of any size may hurt. Under the others the rest is what the model says
after any text, a sum of many contributions to each token: whoever may keep those of one sign moves
it by many nats, whatever the circuit. There few elements decide, ablated in the whole model or left
intact beside the circuit, and a part of any size is only measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pytest_circuits.circuit.rest import Part, Rest, part_gradients
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.view import View
from pytest_circuits.claims.statistics import GAPS, Floats, mean, softplus
from pytest_circuits.prompts.space import Pair

FRACTIONS = tuple(tenth / 10 for tenth in range(1, 11))  # of the rest that a random part ablates
PER_FRACTION = 3  # random parts of each
GAP_PAIRS = 100  # pairs of each group on which losses are held against the whole model's
ATTACKED = 8  # pairs on which the worst part is looked for
STARTS = 3
STEPS = 3
FLIPS = (8, 64, 512)  # elements that a candidate changes at once, the most promising first
SINGLES = 16  # elements that are measured one by one from each start of a step
BEST = (2, 4, 8)  # of these, those that hurt most, together
FEW_SINGLES = 32  # the same where few elements are looked for
BEAM = 2  # parts from which another element is looked for

_PER_START = 1 + STEPS * (1 + len(FLIPS) + SINGLES + len(BEST))
SEARCHED = 2 * ATTACKED * STARTS * _PER_START  # prompt-forwards, at most


def searched_few(few: int) -> int:
    """Prompt-forwards of the search for so many elements, at most."""
    from_each_end = 1 + (1 + (few - 1) * BEAM) * (2 + FEW_SINGLES)
    return 2 * ATTACKED * 2 * from_each_end


def random_parts(size: int, rng: np.random.Generator) -> list[Part]:
    """Random parts of each fraction of the rest in turn; the last ones are all of it."""
    parts = []
    for fraction in FRACTIONS:
        for _ in range(PER_FRACTION):
            part = np.zeros(size, dtype=np.bool_)
            part[rng.permutation(size)[: round(fraction * size)]] = True
            parts.append(part)
    return parts


def gap_shown(gaps: Floats, alpha: float, *, pairs: int) -> float:
    """The bound that a claim shows of the mean gap on so many pairs, if they are like these.

    Whoever has seen fewer pairs, a search, knows by it what the claim will say. gaps: [n], in nats.
    """
    if not np.isfinite(gaps).all():
        return np.inf
    return mean(np.resize(gaps, pairs), alpha, GAPS).upper


@dataclass(frozen=True)
class Parts:
    """Parts of the rest of one circuit under one ablation.

    pairs: on which parts are judged. attacked: on which the worst ones are looked for. drawn:
    random parts, see `random_parts`. few: elements that a part may have where its size decides.
    """

    runner: Runner
    rest: Rest
    pairs: Sequence[Pair]
    attacked: Sequence[Pair]
    drawn: Sequence[Part]
    few: int

    @cached_property
    def random(self) -> Floats:
        """Margins with each of the random parts ablated, [fractions, draws, n, 2]."""
        views = [self.rest.without(part) for part in self.drawn]
        margins = self.runner.margins_many(self.pairs, views)
        return margins.reshape(len(FRACTIONS), PER_FRACTION, -1, 2)

    @property
    def any_size(self) -> bool:
        """Whether a part of any size decides."""
        return self.runner.ablation.kind.from_partner

    @property
    def worst(self) -> Part:
        """The part that decides: the one whose ablation was found to hurt most."""
        return self.worst_any if self.any_size else self.worst_few

    @property
    def without_worst(self) -> View:
        return self.rest.without(self.worst)

    @cached_property
    def worst_any(self) -> Part:
        return self._attack.worst(self.drawn, self.random)

    @cached_property
    def worst_few(self) -> Part:
        return self._attack.few(self.few)

    @property
    def named(self) -> str:
        """How sentences call the model without the part that decides, and name a small one."""
        if self.any_size:
            return "with the worst part found of the rest ablated"
        part = self.worst_few
        if part.sum() > self.few:
            intact = self._names(~part)
            return f"with all of the rest ablated but {intact or 'nothing'}"
        return f"with {self._names(part) or 'nothing'} of the rest ablated"

    def _names(self, part: Part) -> str:
        return " and ".join(self.rest.name(int(i)) for i in np.flatnonzero(part))

    @property
    def _attack(self) -> Attack:
        return Attack(self.runner, self.rest, self.attacked)


@dataclass(frozen=True, slots=True)
class Attack:
    """A bounded search for a part of the rest whose ablation hurts, on a few pairs.

    All candidates of a step share their forwards. Ties go to the earlier candidate, so that what is
    found is a function of the arguments.
    """

    runner: Runner
    rest: Rest
    pairs: Sequence[Pair]

    def worst(self, parts: Sequence[Part], margins: Floats) -> Part:
        """The worst part of any size.

        It starts from nothing, from all of the rest and from the worst of some parts, whose margins
        are given, [..., n, 2].
        """
        known = _losses(margins.reshape(len(parts), -1))
        best = [*self._ends, parts[int(np.argmax(known))]]
        losses = self.losses(best)
        for _ in range(STEPS):
            starts, gains = [*best], self._gains(best)
            orders = [np.argsort(-gain, kind="stable")[: int((gain > 0).sum())] for gain in gains]
            singles = [list(order[:SINGLES, None]) for order in orders]
            alone = self._changed(starts, singles)
            together = [
                [*(order[:count] for count in FLIPS), *_together(order, found)]
                for order, (_, found) in zip(orders, alone, strict=True)
            ]
            for k, (tried, found) in enumerate([*alone, *self._changed(starts, together)]):
                start = k % len(starts)
                if len(found) and found.max() > losses[start]:
                    best[start], losses[start] = tried[int(found.argmax())], found.max()
        return best[int(np.argmax(losses))]

    def few(self, most: int) -> Part:
        """The worst part of at most so many elements, or the worst that leaves so many intact."""
        parts, losses = [*self._ends], [*self.losses(self._ends)]
        for end, other in (self._ends, self._ends[::-1]):
            beam = [end]
            for _ in range(most):
                tried = [
                    flipped(part, [i]) for part in beam for i in self._proposed(part, end, other)
                ]
                if not tried:
                    break
                found = self.losses(tried)
                order = np.argsort(-found, kind="stable")[:BEAM]
                beam = [tried[i] for i in order]
                parts, losses = [*parts, beam[0]], [*losses, found[order[0]]]
        return parts[int(np.argmax(losses))]

    @property
    def _ends(self) -> tuple[Part, Part]:
        nothing = np.zeros(self.rest.size, dtype=np.bool_)
        return nothing, ~nothing

    def _proposed(self, part: Part, end: Part, other: Part) -> list[int]:
        """Elements to change, by the gradient here and, half of them, by that at the other end."""
        here, there = self._gains([part, other])
        untouched = part == end
        orders = [
            np.argsort(-np.where(untouched, gain, -np.inf), kind="stable")
            for gain in (here, -there)  # what is ablated there is to be ablated here
        ]
        half = FEW_SINGLES // 2
        chosen = dict.fromkeys([*orders[0][:half].tolist(), *orders[1][:half].tolist()])
        return [i for i in chosen if untouched[i]]

    def _changed(
        self, starts: Sequence[Part], changes: Sequence[Sequence[NDArray[np.int64]]]
    ) -> list[tuple[list[Part], Floats]]:
        """From each start the parts with some of its elements changed, and their losses."""
        parts = [
            [flipped(start, indexes) for indexes in several]
            for start, several in zip(starts, changes, strict=True)
        ]
        losses = self.losses([part for several in parts for part in several])
        ends = np.cumsum([len(several) for several in parts])[:-1]
        return list(zip(parts, np.split(losses, ends), strict=True))

    def losses(self, parts: Sequence[Part]) -> Floats:
        """Task loss in nats of each of K parts ablated, [K]."""
        views = [self.rest.without(part) for part in parts]
        if not views:
            return np.empty(0)
        return _losses(self.runner.margins_many(self.pairs, views).reshape(len(views), -1))

    def _gains(self, parts: Sequence[Part]) -> Floats:
        """How much the loss should grow, to first order, when an element changes: [K, size]."""
        slopes = loss_slopes(self.runner, self.pairs, self.rest, parts)
        return np.where(np.stack(parts), -slopes, slopes)


def loss_slopes(runner: Runner, pairs: Sequence[Pair], rest: Rest, parts: Sequence[Part]) -> Floats:
    """How the summed loss grows with the ablation of each element, at K parts: [K, size]."""
    slopes = np.zeros((len(parts), rest.size))
    for _, batch, fill in runner.batches(pairs):
        slopes += part_gradients(runner.model, batch, fill, rest, parts)
    runner.forwards += 2 * len(pairs) * len(parts)
    return slopes


def flipped(part: Part, indexes: Sequence[int] | NDArray[np.int64]) -> Part:
    changed = part.copy()
    changed[indexes] ^= True
    return changed


def _losses(margins: Floats) -> Floats:
    """Task losses [K] of margins [K, ...]; what is not a number hurts without end."""
    losses = softplus(margins).mean(axis=1)
    return np.where(np.isfinite(losses), losses, np.inf)


def _together(order: NDArray[np.int64], losses: Floats) -> list[NDArray[np.int64]]:
    """Of elements that were measured one by one those that hurt most, some of them together."""
    hurting = order[: len(losses)][np.argsort(-losses, kind="stable")]
    return [hurting[:count] for count in BEST if count <= len(losses)]
