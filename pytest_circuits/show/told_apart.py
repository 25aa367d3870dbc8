"""What a node does in the prompts of a circuit: which cue it tells from which, what it pushes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pytest_circuits.circuit.nodes import Node
from pytest_circuits.model.protocol import Site
from pytest_circuits.show.kinds import Vocabulary
from pytest_circuits.show.layout import number, token
from pytest_circuits.show.observed import Asked, Bools, Contrast, Ints, Numbers
from pytest_circuits.show.statement import LEAST, Share, Statement, Topic

LITTLE = 0.05  # of the median preference: what moves it by less does next to nothing
MIDDLE = (10, 90)  # percent of the prompts, between which a range lies
PLACES = ("where the prompts part", "at the last token")  # at which it is known what nodes carry
NEAR, TINY = 0.1, 1e-6  # of its size, and besides: values so near to each other are the same
_COIN = 0.5
_FEWEST = 4  # prompts, where a statement is made


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """The prompts of one contrast in both halves."""

    contrast: Contrast
    made: Ints
    checked: Ints

    def cue(self, second: int) -> str:
        """One of its cues, as it is written."""
        return token(self.contrast[second][0])

    def only(self, second: int) -> tuple[Ints, Ints]:
        """The prompts with one of its cues, in both halves."""
        return self.made[self.made % 2 == second], self.checked[self.checked % 2 == second]


def sides(made: Asked, checked: Asked) -> Iterator[Side]:
    """Give the contrasts of which there are prompts enough in both halves."""
    for contrast in dict.fromkeys(made.contrasts):
        rows = []
        for asked in (made, checked):
            pairs = np.array([i for i, each in enumerate(asked.contrasts) if each == contrast])
            rows.append(np.stack([2 * pairs, 2 * pairs + 1], axis=1).ravel().astype(np.int64))
        if min(map(len, rows)) >= 2 * _FEWEST:
            yield Side(contrast, *rows)


def tells_apart(node: Node, site: Site, made: Asked, checked: Asked) -> list[Statement]:
    """Which value it has with each of two cues: at the last token, or where their prompts part.

    The prediction: it is nearer to what it mostly is with the cue that is there; or, where that is
    the same with both, near to it.
    """
    found = []
    for side in sides(made, checked):
        places = (1, 0) if site.layer is not None else (1,)  # of two alike the last token
        tried = [_with_each(node, place, side, made, checked) for place in places]
        found.append(max(tried, key=lambda each: each[:2])[2])
    return found


def _with_each(
    node: Node, place: int, side: Side, made: Asked, checked: Asked
) -> tuple[float, float, Statement]:
    """What is said of a place, with the share that is right where it is made, and how far apart.

    Of a node of several channels it is told how far it lies along the line between both means.
    """
    here, second = made.carried[node][side.made, place], side.made % 2 == 1  # [n, channels]
    line = here[second].mean(0) - here[~second].mean(0)
    line = np.ones(1) if len(line) == 1 else line / max(float(np.linalg.norm(line)), TINY)
    values, there = here @ line, checked.carried[node][side.checked, place] @ line
    one, two = (float(np.median(values[second == member])) for member in (False, True))
    size = max(abs(one), abs(two))
    if abs(two - one) <= NEAR * size + TINY:
        near = np.abs(there - (one + two) / 2) <= NEAR * size + TINY
        says = f"{PLACES[place]}: about {number((one + two) / 2)} with each cue"
        share = Share(int(near.sum()), len(near), "prompts")
        return _COIN, size, Statement(Topic.CUES, says, (share,))
    right = float(_nearer(values, second, one, two).mean())
    holds = _nearer(there, side.checked % 2 == 1, one, two)
    told = (
        f"about {number(one)} with {side.cue(0)}, about {number(two)} with {side.cue(1)}"
        if len(line) == 1
        else f"one thing with {side.cue(0)}, another with {side.cue(1)}"
    )
    share = Share(int(holds.sum()), len(holds), "prompts", _COIN)
    said = Statement(Topic.CUES, f"{PLACES[place]}: {told}", (share,), right)
    return right, abs(two - one), said


def _nearer(values: Numbers, second: Bools, one: float, other: float) -> Bools:
    """Whether each value is nearer to what it mostly is with its own cue."""
    mine, not_mine = np.where(second, other, one), np.where(second, one, other)
    found: Bools = np.abs(values - mine) < np.abs(values - not_mine)
    return found


def pushes(node: Node, made: Asked, checked: Asked, words: Vocabulary) -> list[Statement]:
    """What it does to the preference for the answer, in nats, for each cue.

    The prediction is which of the two it speaks for, or that it does little; and, where it does
    more, which of all tokens it raises most.
    """
    found = []
    little = LITTLE * float(np.median(np.abs(made.margins)))
    for side in sides(made, checked):
        for second in (0, 1):
            rows, others = side.only(second)
            mine, theirs = _known(made.effects[node][rows]), _known(checked.effects[node][others])
            if min(len(mine), len(theirs)) < _FEWEST:
                continue
            idle = bool((np.abs(mine) < little).mean() >= LEAST)
            if idle:
                says = f"next to nothing with {side.cue(second)}"
                holds, chance = np.abs(theirs) < little, None
            else:
                sign = 1 if np.median(mine) > 0 else -1
                pushed = side.contrast[second if sign > 0 else 1 - second][1]
                low, high = np.percentile(sign * theirs, MIDDLE)
                amount = f"by {number(float(low))} to {number(float(high))} nats"
                says = f"{token(pushed)} {amount} with {side.cue(second)}"
                holds, chance = sign * theirs > 0, _COIN
            share = Share(int(holds.sum()), len(holds), "prompts", chance)
            found.append(Statement(Topic.PUSH, says, (share,), little=idle))
            if not idle:
                most = made.raised[node][rows], checked.raised[node][others]
                found.append(_raises(*most, side.cue(second), words))
    return found


def _raises(mine: Ints, theirs: Ints, cue: str, words: Vocabulary) -> Statement:
    """Which of all tokens it raises most: the one that it mostly does where this is made."""
    ids, counts = np.unique(mine[mine >= 0], return_counts=True)
    most, ran = int(ids[counts.argmax()]), theirs[theirs >= 0]
    share = Share(int((ran == most).sum()), len(ran), "prompts", 1 / len(words.tokens))
    says = f"{token(words.tokens[most])} most of all tokens with {cue}"
    return Statement(Topic.RAISES, says, (share,))


def _known(values: Numbers) -> Numbers:
    found: Numbers = values[~np.isnan(values)]
    return found
