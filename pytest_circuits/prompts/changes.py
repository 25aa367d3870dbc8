"""Changes of a prompt: two prompts that differ in what named slots hold, and in nothing else.

Both have the same template and the same cue, and so the same answer and foil. The two are put into
a `Pair`, in which a prompt's partner is the prompt that the change leads to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from typing import TYPE_CHECKING

from pytest_circuits.prompts.space import (
    Group,
    Pair,
    Prompt,
    PromptSpace,
    Values,
    either,
    in_turn,
)

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

TRIES = 100  # draws of other values, after which a prompt counts as having none that fit
FEW = 20  # changes of one literal prompt, for each of its foils


@dataclass(frozen=True, slots=True)
class ChangeSpace:
    """All changes of some slots of a behavior."""

    space: PromptSpace
    slots: tuple[str, ...]  # names, at least one

    @property
    def groups(self) -> tuple[GroupChanges, ...]:
        """The changes of each group of prompts whose template has one of the slots."""
        having = (group for group in self.space.groups if group.uses(*self.slots))
        return tuple(GroupChanges(group, self.slots) for group in having)

    def strategy(self) -> SearchStrategy[Pair]:
        """Return the strategy of all changes; it shrinks as prompts do."""
        return either(group.strategy() for group in self.groups)

    def of(self, text: str) -> tuple[Pair, ...]:
        """Return changes of a literal prompt to the simplest values; none if it does not fit."""
        fitting = [*self.space.fitting(text)]
        return tuple(
            change
            for changes in self.groups
            for group, values in fitting
            if group == changes.group
            for change in changes.of(values, text)
        )

    def fitting(
        self, count: int, *, seed: int, fits: Callable[[Pair], bool]
    ) -> tuple[tuple[Pair, ...], tuple[Prompt, ...]]:
        """Return independent changes that fit, and the prompts for which none was found.

        So many in all, of the groups in turn.
        """
        groups = self.groups
        each = -(-count // len(groups))
        found, lonely = zip(*(g.fitting(each, seed=seed, fits=fits) for g in groups), strict=True)
        return tuple(islice(in_turn(found), count)), tuple(islice(in_turn(lonely), count))


@dataclass(frozen=True, slots=True)
class GroupChanges:
    """All changes of some slots within one group of prompts."""

    group: Group
    slots: tuple[str, ...]

    @property
    def most(self) -> int:
        """At least as many as there are changes: from each prompt, to all other values."""
        return 2 * self.group.size * (self.group.ways(*self.slots) - 1)

    def strategy(self) -> SearchStrategy[Pair]:
        """Return the strategy of all changes; it shrinks as prompts do."""
        from hypothesis import strategies as st  # noqa: PLC0415  (an import that costs 0.2 s)

        values, other = self.group.values(), self.group.values(*self.slots)
        return st.builds(self._change, values, other, st.integers(0, 1)).filter(_differs)

    def of(self, values: Values, text: str) -> tuple[Pair, ...]:
        """Return changes of a prompt, of which its values are given, to the simplest values."""
        member = 0 if self.group.pair(values).first.text == text else 1
        others = (other for other, _ in self.group.fillings(*self.slots))
        changes = (self._change(values, other, member) for other in others)
        return tuple(islice(filter(_differs, changes), FEW))

    def sample(self, members: Sequence[int], *, seed: int, other_seed: int) -> tuple[Pair, ...]:
        """Return one independent change from each of these members of contrast pairs.

        Values of all slots are drawn with `seed`, as `Group.sample` does, then those of the named
        slots with `other_seed` until the text is another one. Member 0 is the first of its contrast
        pair, 1 the other.
        """
        bases, others = self.group.draws(seed=seed), self.group.draws(*self.slots, seed=other_seed)
        return tuple(
            next(filter(_differs, (self._change(values, other, member) for other in others)))
            for member, values in zip(members, bases, strict=False)
        )

    def fitting(
        self, count: int, *, seed: int, fits: Callable[[Pair], bool]
    ) -> tuple[tuple[Pair, ...], tuple[Prompt, ...]]:
        """Return independent changes that fit, and the prompts for which none was found."""
        found, lonely = [], []
        bases, others = self.group.draws(seed=seed), self.group.draws(*self.slots, seed=seed + 1)
        for index, values in enumerate(islice(bases, count)):
            tried = (self._change(values, other, index % 2) for other in islice(others, TRIES))
            change = next((c for c in tried if _differs(c) and fits(c)), None)
            if change is None:
                lonely.append(self._change(values, values, index % 2).first)
            else:
                found.append(change)
        return tuple(dict.fromkeys(found)), tuple(dict.fromkeys(lonely))

    def enumerate(self) -> Iterator[tuple[Pair, float]]:
        """Give every change once, whichever way round, with the probability of both ways.

        Like a sample, a change goes from a prompt to other values of the slots, which are as likely
        among themselves as they are declared to be. The probabilities sum to one.
        """
        rest = tuple(name for name in self.group.behavior.slots if name not in self.slots)
        for fixed, weight in self.group.fillings(*rest) if rest else [({}, 1.0)]:
            for member in (0, 1):
                yield from self._among(fixed, weight / 2, member)

    def _among(self, fixed: Values, weight: float, member: int) -> Iterator[tuple[Pair, float]]:
        """Give the changes among the prompts that differ in the named slots alone."""
        shares: defaultdict[Prompt, float] = defaultdict(float)
        for values, share in self.group.fillings(*self.slots):
            shares[self._change({**fixed, **values}, {}, member).first] += share
        for (one, p), (other, q) in combinations(shares.items(), 2):
            yield Pair(one, other), weight * p * q * (1 / (1 - p) + 1 / (1 - q))

    def _change(self, values: Values, other: Values, member: int) -> Pair:
        before, after = (self.group.pair(held) for held in (values, {**values, **other}))
        return Pair(*((pair.first, pair.second)[member] for pair in (before, after)))


def _differs(change: Pair) -> bool:
    return change.first != change.second
