"""At which tokens of the reference text a node is on: by the token there, or the one before.

A node is on, above or below, where it is far from its usual value, its median: more than a quarter,
a half or three quarters of the way to the largest values that it has, whichever is told best
(Gao et al. 2025, appendix C, make two levels of a node at the same shares of its range).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pytest_circuits.circuit.nodes import Node
from pytest_circuits.show.kinds import Sort, Vocabulary
from pytest_circuits.show.layout import number
from pytest_circuits.show.observed import Bools, Ints, Numbers, Texts
from pytest_circuits.show.statement import Example, Share, Statement, Topic

SHARES = (0.5, 0.25, 0.75)  # of the way from the usual value to the largest
PEAK = 8  # of the largest values, whose mean is the end of that way
SMALLER = 0.25  # a way to one side that is shorter than this share of the other is none
FEWEST_ON = 8  # tokens at which it has to be on, where the statement is made
OFTEN = 0.5  # share of a token's places at which a node is on, for the token to be named
SIMPLER = 0.03  # what is said first is preferred to what is no better than this
WITHIN = 0.1  # of its value: what goes no further from it hardly varies
QUANTILES = (0.0, 0.001, 0.01, 0.1)
_BEFORE, _AFTER = 3, 1  # tokens of an example around the one
_NONE = -1  # what stands before the first token


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """The tokens of some texts, side by side: N of them."""

    now: Ints  # [N]
    before: Ints  # [N] what stands before each
    real: Bools  # [n, T] of the texts

    @classmethod
    def of(cls, text: Texts) -> Places:
        """Return the tokens of some texts."""
        real = text.tokens >= 0
        before = np.full_like(text.tokens, _NONE)
        before[:, 1:] = text.tokens[:, :-1]
        return cls(text.tokens[real], before[real], real)


@dataclass(frozen=True, slots=True, eq=False)
class _Told:
    """A prediction: a node is on where one of a sort of tokens is, or stands before."""

    says: str
    sort: Sort
    back: bool

    def checked(self, there: Bools, places: Places, words: Vocabulary) -> tuple[Share, Share]:
        """How often it is right where it says that the node is on, and where the node is."""
        ids = places.before if self.back else places.now
        both = int(words.counted(ids[there])[self.sort.ids].sum())
        said, on = int(words.counted(ids)[self.sort.ids].sum()), int(there.sum())
        return (
            Share(both, said, "such tokens are", on / len(there)),
            Share(both, on, "such values are there", said / len(there)),
        )


def where_on(
    node: Node, made: Texts, checked: Texts, places: tuple[Places, Places], words: Vocabulary
) -> list[Statement]:
    """What can be said of where a node is on, for each side on which it goes far.

    places: of the two halves of the text.
    """
    mine, other = places
    values, others = made.values[node][mine.real], checked.values[node][other.real]
    usual = float(np.median(values))
    if steady := _steady(usual, values, others):
        return [steady]
    found = []
    for sign in _sides(values, usual):
        way = _way(values, usual, sign)
        tried = []
        for share in SHARES:
            edge = usual + sign * share * way
            here, there = sign * values > sign * edge, sign * others > sign * edge
            if not FEWEST_ON <= here.sum() <= OFTEN * len(here):
                continue
            best = _best(here, mine, words)
            if best is None:
                continue
            score, told = best
            says = f"{'above' if sign > 0 else 'below'} {number(edge)} {told.says}"
            tried.append((score, says, told, there))
        if tried:
            score, says, told, there = max(tried, key=lambda each: each[0])
            found.append(Statement(Topic.TEXT, says, told.checked(there, other, words), score))
    return found


def _steady(usual: float, values: Numbers, others: Numbers) -> Statement | None:
    near = WITHIN * abs(usual)
    if not near or max(_way(values, usual, sign) for sign in (1, -1)) > near:
        return None
    holds = int((np.abs(others - usual) <= near).sum())
    says = f"hardly varies: within {number(near)} of {number(usual)}, whatever the text"
    return Statement(Topic.TEXT, says, (Share(holds, len(others), "tokens"),))


def _sides(values: Numbers, usual: float) -> Iterator[int]:
    """Above, below or both: where the way to its largest values is not short beside the other."""
    ways = {sign: _way(values, usual, sign) for sign in (1, -1)}
    longest = max(ways.values())
    yield from (sign for sign, way in ways.items() if longest and way >= SMALLER * longest)


def _way(values: Numbers, usual: float, sign: int) -> float:
    return float(np.sort(sign * (values - usual))[-PEAK:].mean())


def _best(here: Bools, places: Places, words: Vocabulary) -> tuple[float, _Told] | None:
    """The simplest of the best predictions, and the share of it that holds where it was made.

    None where no token stands out, and the vocabulary has no kinds of tokens with a name.
    """
    total_on, ranked = int(here.sum()), []
    for back, ids in ((False, places.now), (True, places.before)):
        on, total = words.counted(ids[here]), words.counted(ids)
        often = np.flatnonzero((on > 0) & (on >= OFTEN * total))[: -1 if on[-1] else None]
        order = often[np.argsort(-on[often], kind="stable")].tolist()
        for sort in (*words.few(order), *words.more(order)):
            both, said = int(on[sort.ids].sum()), int(total[sort.ids].sum())
            score = min(both / said, both / total_on) if said else 0.0
            told = _Told(f"{'after' if back else 'at'} {sort.says}", sort, back)
            ranked.append((score, told))
    best = max((score for score, _ in ranked), default=0.0)
    return next((each for each in ranked if each[0] >= best - SIMPLER), None)


def examples(node: Node, text: Texts, words: Vocabulary) -> list[Example]:
    """Tokens of a text at quantiles of what a node has there, by how far it is from its usual."""
    values, real = text.values[node], text.tokens >= 0
    rows, columns = np.nonzero(real)
    far = np.abs(values[real] - np.median(values[real]))
    order = np.argsort(-far, kind="stable")
    found = []
    for share in QUANTILES:
        place = order[min(len(order) - 1, int(share * len(order)))]
        row, column = int(rows[place]), int(columns[place])
        line = [words.tokens[i] if i >= 0 else "" for i in text.tokens[row].tolist()]
        found.append(
            Example(
                share,
                "".join(line[max(0, column - _BEFORE) : column]),
                line[column],
                "".join(line[column + 1 : column + 1 + _AFTER]),
                float(values[row, column]),
            )
        )
    return found
