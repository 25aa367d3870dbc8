"""Prompts for the rates: of each group of prompts as many, and the worst group decides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pytest_circuits.claims import statistics
from pytest_circuits.claims.evidence import Rate
from pytest_circuits.claims.statistics import Bools, Floats, Interval, Span
from pytest_circuits.prompts.changes import ChangeSpace
from pytest_circuits.prompts.space import Group, Pair, PromptSpace

MOST_CHANGES = 20_000  # that are all run where the space is

Rows = NDArray[np.bool_]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Sample:
    """Prompts for the rates: independent draws, or the whole space with its probabilities.

    Of several groups there are as many draws each, or each is whole. A rate, a drop and a mean are
    those of the group that is worst for the claim: a claim holds where it holds for every group,
    which needs no correction. The groups stand in turn, so that the first pairs are of all.
    """

    pairs: tuple[Pair, ...]
    weights: Floats  # [n], sums to one
    member: NDArray[np.int64]  # [n], 0 or 1: which prompt of a sampled pair counts
    exhaustive: bool
    group: NDArray[np.int64]  # [n], which of the groups
    groups: tuple[Group, ...]

    def rate(self, holds: Bools, alpha: float, *, at_most: bool = False) -> Interval:
        """Rate of a property of prompts, given for both members of each pair: [n, 2].

        Of a sampled pair one prompt counts, chosen by a seeded coin: the two are correlated, and
        exact bounds want independent draws. at_most: the greatest is the worst, not the least.
        """
        if self.exhaustive:
            return self._whole(holds.mean(axis=1), at_most=at_most)
        chosen = self.chosen(holds)
        return self._worst(lambda rows: statistics.rate(chosen[rows], alpha), at_most=at_most)

    def drop(self, before: Bools, after: Bools, alpha: float) -> Interval:
        """Drop of a rate between two runs on the same prompts, each [n, 2]; the greatest."""
        if self.exhaustive:
            lost = before.astype(np.float64) - after.astype(np.float64)
            return self._whole(lost.mean(axis=1), at_most=True)
        was, now = self.chosen(before), self.chosen(after)
        return self._worst(lambda rows: statistics.drop(was[rows], now[rows], alpha), at_most=True)

    def average(self, values: Floats) -> float:
        """Mean over pairs of a value of each prompt, [n, 2], for reports: it has no bounds."""
        return statistics.whole(values.mean(axis=1), self.weights).estimate

    def mean(self, values: Floats, alpha: float, within: Span, *, at_most: bool = True) -> Interval:
        """The same of the worst group, with bounds, those of pairs that count as `within` says."""
        per_pair = values.mean(axis=1)
        if self.exhaustive:
            return self._whole(per_pair, at_most=at_most)
        return self._worst(
            lambda rows: statistics.mean(per_pair[rows], alpha, within), at_most=at_most
        )

    def _whole(self, values: Floats, *, at_most: bool) -> Interval:
        return self._worst(
            lambda rows: statistics.whole(values[rows], self.weights[rows]), at_most=at_most
        )

    def _worst(self, measure: Callable[[Rows], Interval], *, at_most: bool) -> Interval:
        """Of the groups the one whose bound is farthest on the wrong side; what is NaN is worst."""
        found = [measure(self.group == index) for index in range(len(self.groups))]
        if len(found) == 1:
            return found[0]
        bounds = np.array([-x.upper if at_most else x.lower for x in found])
        worst = int(np.argmin(np.where(np.isnan(bounds), -np.inf, bounds)))
        return replace(
            found[worst],
            group=self.groups[worst].name,
            groups=tuple((g.key, x.estimate) for g, x in zip(self.groups, found, strict=True)),
        )

    def against(self, interval: Interval, threshold: float, *, at_most: bool = False) -> Rate:
        """A rate or a drop that was found on this sample, held against what a claim asks for."""
        return Rate(
            *(interval.estimate, interval.lower, interval.upper, threshold),
            n=self.prompts(interval),
            exhaustive=self.exhaustive,
            at_most=at_most,
            group=interval.group,
            groups=interval.groups,
            distinct=self._distinct(interval),
        )

    def _distinct(self, interval: Interval) -> int | None:
        """How many of the prompts are distinct, where not all are."""
        rows = np.flatnonzero(self.rows(interval))
        distinct = len({(self.pairs[i], self.member[i]) for i in rows})
        return None if self.exhaustive or distinct == len(rows) else distinct

    def prompts(self, interval: Interval) -> int:
        """How many prompts something that was found is made of: those of its group."""
        return (1 + self.exhaustive) * int(self.rows(interval).sum())

    def rows(self, interval: Interval) -> Rows:
        """Which pairs something that was found is made of, [n]."""
        rows: Rows = self.group == [group.name for group in self.groups].index(interval.group)
        return rows

    def chosen(self, values: Bools) -> Bools:
        """The values [n] of the prompt of each pair that counts, from those of both [n, 2]."""
        return values[np.arange(len(values)), self.member]

    def counted(self, *, group: str, each_once: bool) -> Rows:
        """Which prompts a rate is made of, [n, 2]: those of a group, or of all where it is empty.

        each_once: one prompt of each pair, also where the space is whole.
        """
        both: Rows = np.arange(2) == self.member[:, None]
        if self.exhaustive and not each_once:
            both = np.ones_like(both)
        names = [each.name for each in self.groups]
        if group in names:
            both &= (self.group == names.index(group))[:, None]
        return both

    def only_few(self, count: int, *, seed: int) -> Sample:
        """The pairs that `few` gives, as a sample."""
        return self._only(self._few(count, seed=seed))

    def shortened(self, count: int) -> Sample:
        """The first draws of each group; a whole space stays whole."""
        most = count * len(self.groups)
        if self.exhaustive or most >= len(self.pairs):
            return self
        return replace(
            self,
            pairs=self.pairs[:most],
            weights=np.full(most, 1 / most),
            member=self.member[:most],
            group=self.group[:most],
        )

    def few(self, count: int, *, seed: int) -> tuple[Pair, ...]:
        """Some of the pairs, for measurements that need fewer: draws, or a spread of the space."""
        return tuple(self.pairs[i] for i in self._few(count, seed=seed))

    def few_by_weight(self, count: int, *, seed: int) -> tuple[Pair, ...]:
        """The same for plain means: a pair is there as often as its probability says."""
        return tuple(self.pairs[i] for i in self._few_by_weight(count, seed=seed))

    def part(self, count: int, *, seed: int) -> Sample:
        """A sample of fewer pairs of each group, as often as likely; the same if it has no more."""
        most = count * len(self.groups)
        if most >= len(self.pairs):
            return self
        return replace(self._only(self._few_by_weight(most, seed=seed)), exhaustive=False)

    def _only(self, rows: Places) -> Sample:
        return replace(
            self,
            pairs=tuple(self.pairs[i] for i in rows),
            weights=np.full(len(rows), 1 / len(rows)),
            member=self.member[rows],
            group=self.group[rows],
        )

    def _few(self, count: int, *, seed: int) -> Places:
        if not self.exhaustive or count >= len(self.pairs):
            return np.arange(len(self.pairs))[:count]
        order = generator(seed, stream=2).permutation(len(self.pairs))
        return np.sort(order[np.argsort(self._turns(order), kind="stable")][:count])

    def _turns(self, order: Places) -> Places:
        """How many of its group stand before each of some pairs, [n]."""
        group = self.group[order]
        turns = np.empty_like(order)
        for index in range(len(self.groups)):
            turns[group == index] = np.arange(int((group == index).sum()))
        return turns

    def _few_by_weight(self, count: int, *, seed: int) -> Places:
        """Of a space whose pairs are not equally likely, a systematic sample in random order.

        Group by group: each pair is taken `count` times its probability, up or down to a whole
        number.
        """
        alike = float(np.ptp(self.weights)) < statistics.ROUNDING
        if alike or not self.exhaustive or count >= len(self.pairs):
            return self._few(count, seed=seed)
        random = generator(seed, stream=2)
        order = random.permutation(len(self.pairs))
        order = order[np.argsort(self.group[order], kind="stable")]
        ends = np.cumsum(self.weights[order])
        ticks = (np.arange(count) + random.random()) / count * ends[-1]
        return np.sort(order[np.searchsorted(ends, ticks)])


def draw_sample(space: PromptSpace, *, count: int, seed: int) -> Sample:
    """The whole space where no group has more than `count` pairs, else so many draws of each."""
    groups = space.groups
    if all(group.size <= count for group in groups):
        return _together([_all(group, group.enumerate()) for group in groups])
    coins = generator(seed, stream=1)
    return _together(
        [
            _draws(group, group.sample(count, seed=seed), coins.integers(2, size=count))
            for group in groups
        ]
    )


def draw_changes(space: ChangeSpace, sample: Sample, *, seed: int) -> Sample:
    """Changes of the prompts of a sample; of a whole space all, unless they are very many."""
    several = space.groups
    if sample.exhaustive and all(changes.most <= MOST_CHANGES for changes in several):
        return _together([_all(changes.group, changes.enumerate()) for changes in several])
    coins, drawn = generator(seed, stream=3), []
    for changes in several:
        members = sample.member[sample.group == sample.groups.index(changes.group)]
        if sample.exhaustive:
            members = coins.integers(2, size=len(members))
        pairs = changes.sample(members.tolist(), seed=seed, other_seed=seed + 1)
        drawn.append(_draws(changes.group, pairs, np.zeros(len(pairs), dtype=np.int64)))
    return _together(drawn)


def _all(group: Group, weighted: Iterable[tuple[Pair, float]]) -> Sample:
    pairs, weights = zip(*weighted, strict=True)
    first = np.zeros(len(pairs), dtype=np.int64)
    return Sample(pairs, np.array(weights), first, exhaustive=True, group=first, groups=(group,))


def _draws(group: Group, pairs: Sequence[Pair], member: NDArray[np.int64]) -> Sample:
    weights, alike = np.full(len(pairs), 1 / len(pairs)), np.zeros(len(pairs), dtype=np.int64)
    return Sample(tuple(pairs), weights, member, exhaustive=False, group=alike, groups=(group,))


def _together(parts: Sequence[Sample]) -> Sample:
    """Samples of one group each, in turn, as one of all groups, which are equally likely."""
    if len(parts) == 1:
        return parts[0]
    places = [(index, row) for index, part in enumerate(parts) for row in range(len(part.pairs))]
    places.sort(key=lambda place: place[::-1])
    return Sample(
        tuple(parts[index].pairs[row] for index, row in places),
        np.array([parts[index].weights[row] / len(parts) for index, row in places]),
        np.array([parts[index].member[row] for index, row in places]),
        exhaustive=parts[0].exhaustive,
        group=np.array([index for index, _ in places]),
        groups=tuple(group for part in parts for group in part.groups),
    )


def generator(seed: int, *, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=np.array([seed, stream], dtype=np.uint64)))
