"""What a head looks at: from the last token of prompts, and from tokens of the reference text.

Letters: N rows of attention, each from one token; T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from pytest_circuits.circuit.attention import Head
from pytest_circuits.show.kinds import MORE, Sort, Vocabulary
from pytest_circuits.show.observed import Asked, Bools, Ints, Numbers, Texts
from pytest_circuits.show.statement import ABOVE, LEAST, Share, Statement, Topic
from pytest_circuits.show.told_apart import sides

HALF = 0.5
EVEN = 0.1  # total variation from even attention
AWAKE = 0.1  # of its attention that does not go to the sink: of less nothing is said on text
TWICE = 2.0  # times what even attention would give, for a token to be named
SIMPLER = 0.03  # what is said first is preferred to what is no better than this
TINY = 1e-9
MOST = 0.5  # of the rows: of so many a prediction has to say something
FEWEST = 10  # places of a token, where it is said that a head looks for it
WANTED = 3.0  # times an even share, that a token gets which a head looks for


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Attention from single tokens."""

    weights: Numbers  # [N, T]; what a row lacks to one went to the sink
    ids: Ints  # [N, T]; -1 where there is no token of the text
    at: Ints  # [N] the tokens that are looked from

    @property
    def reached(self) -> Bools:
        """What can be looked at, [N, T]."""
        found: Bools = np.arange(self.ids.shape[1]) <= self.at[:, None]
        return found

    def even(self) -> Rows:
        """The same, were attention even."""
        reached = self.reached
        return Rows(reached / reached.sum(1, keepdims=True), self.ids, self.at)

    def only(self, rows: Bools) -> Rows:
        """Return some of the rows."""
        return Rows(self.weights[rows], self.ids[rows], self.at[rows])

    def mass(self, there: Bools) -> Numbers:
        """How much of what does not go to the sink goes to some tokens, [N]."""
        some, every = (self.weights * (there & self.reached)).sum(1), self.weights.sum(1)
        found: Numbers = some / np.maximum(every, TINY)
        return found


@dataclass(frozen=True, slots=True)
class _Aim:
    """A prediction of what a head looks at: to which rows it applies, and in which it holds."""

    says: str
    applies: Callable[[Rows], Bools]
    holds: Callable[[Rows], Bools]
    even: bool = False  # it says that attention is even, which is otherwise what chance gives

    def chance(self, rows: Rows) -> float:
        """The share of rows in which it would hold, were attention even; NaN of no rows."""
        return 0.0 if self.even else float(self.holds(rows.even()).mean())


def from_last(head: Head, made: Asked, checked: Asked, words: Vocabulary) -> list[Statement]:
    """What it looks at from the last token of prompts, for each cue."""
    found: list[tuple[str, str, Share]] = []
    cues = [(side, second) for side in sides(made, checked) for second in (0, 1)]
    for side, second in cues:
        here, there = side.only(second)
        mine, theirs = _of_prompts(head, made, here), _of_prompts(head, checked, there)
        if best := _best(mine, _aims(mine, words), apply=MOST):
            found.append((best[1].says, side.cue(second), _share(best[1], theirs, "prompts")))
    if len(found) == len(cues) and len({aim for aim, _, _ in found}) == 1:
        share = _sum([share for _, _, share in found])
        return [Statement(Topic.LOOKS, f"from the last token: {found[0][0]}", (share,))]
    return [
        Statement(Topic.LOOKS, f"from the last token, with {cue}: {aim}", (share,))
        for aim, cue, share in found
    ]


def in_text(head: Head, made: Texts, checked: Texts, words: Vocabulary) -> list[Statement]:
    """What it looks for in reference text."""
    mine, theirs = (_of_text(head, text) for text in (made, checked))
    found = []
    if (best := _best(mine, _aims(mine), apply=MOST)) and best[0] >= LEAST:
        share = _share(best[1], theirs, "tokens")
        found.append(Statement(Topic.LOOKS, f"in text: {best[1].says}", (share,), best[0]))
    return [*found, *_wanted(mine, theirs, words)]


def _wanted(mine: Rows, theirs: Rows, words: Vocabulary) -> Iterator[Statement]:
    """The tokens that get far more than an even share wherever they can be looked at."""
    size = len(words.tokens) + 1
    (ids, far), (others, far_there) = _wants(mine), _wants(theirs)
    count, often = (np.bincount(x, minlength=size) for x in (ids, ids[far]))
    wanted = np.flatnonzero((count >= FEWEST) & (often >= LEAST * count))
    order = wanted[np.argsort(-often[wanted], kind="stable")][: max(MORE)].tolist()
    if order:
        sort = words.some(order)
        here = sort.ids[others]
        share = Share(int(far_there[here].sum()), int(here.sum()), "times", float(far_there.mean()))
        says = f"in text: gives {sort.says} more than {WANTED:g} times an even share"
        yield Statement(Topic.LOOKS, says, (share,))


def _wants(rows: Rows) -> tuple[Ints, Bools]:
    """Every token that is looked at from a row, and whether it gets far more than an even share."""
    awake = rows.only(_awake(rows))
    there = awake.reached & (awake.ids >= 0)
    shares = awake.weights / awake.weights.sum(1, keepdims=True)
    return awake.ids[there], (shares > WANTED * awake.even().weights)[there]


def _of_prompts(head: Head, asked: Asked, rows: Ints) -> Rows:
    return Rows(asked.attention[head][rows], asked.tokens[rows], asked.last[rows])


def _of_text(head: Head, text: Texts) -> Rows:
    queries, length = text.attention[head].shape[1:]
    ids = np.repeat(text.tokens[:, None], queries, axis=1).reshape(-1, length)
    return Rows(text.attention[head].reshape(-1, length), ids, text.asked.ravel())


def _best(rows: Rows, aims: list[_Aim], *, apply: float) -> tuple[float, _Aim] | None:
    """The simplest of the best predictions, with the share that holds where it was made.

    apply: the share of the rows of which a prediction has to say something.
    """
    ranked = []
    for aim in aims:
        some = aim.applies(rows)
        if not some.any() or some.mean() < apply:
            continue
        share = float(aim.holds(rows)[some].mean())
        if share >= aim.chance(rows.only(some)) + ABOVE:
            ranked.append((share, aim))
    if not ranked:
        return None
    best = max(share for share, _ in ranked)
    return next(each for each in ranked if each[0] >= best - SIMPLER)


def _share(aim: _Aim, rows: Rows, of: str) -> Share:
    some = rows.only(aim.applies(rows))
    chance = aim.chance(some) if len(some.at) else None
    return Share(int(aim.holds(some).sum()), len(some.at), of, chance)


def _sum(shares: list[Share]) -> Share:
    count = sum(share.count for share in shares)
    chance = sum(share.count * (share.chance or 0.0) for share in shares) / max(1, count)
    return Share(sum(share.holds for share in shares), count, shares[0].of, chance)


def _aims(rows: Rows, words: Vocabulary | None = None) -> list[_Aim]:
    """What can be said, the simplest first; of tokens by their names only with a vocabulary."""
    ranked = [] if words is None else _drawing(rows, len(words.tokens))
    return [
        _Aim("looks at nothing (more than half goes to its sink)", _any, _rests),
        _Aim("looks at all tokens evenly", _awake, _evenly, even=True),
        _most("the token itself", lambda rows: _steps(rows) == 0),
        *(_most(x.says, _of_sort(x)) for x in (words.few(ranked) if words else ())),
        _most("the token before", lambda rows: _steps(rows) == 1),
        _most("the first token", lambda rows: _steps(rows) == rows.at[:, None]),
        _most("an earlier copy of the token", _copies),
        _most("what followed an earlier copy of the token", _after_copies),
        *(_most(x.says, _of_sort(x)) for x in (words.more(ranked) if words else ())),
    ]


def _drawing(rows: Rows, size: int) -> list[int]:
    """The tokens that get much more than even attention would give, the most first."""
    awake = rows.only(_awake(rows))
    there = awake.reached & (awake.ids >= 0)
    shares = awake.weights / np.maximum(awake.weights.sum(1, keepdims=True), TINY)
    given = np.bincount(awake.ids[there], shares[there], minlength=size)
    fair = np.bincount(awake.ids[there], awake.even().weights[there], minlength=size)
    more = np.flatnonzero(given > TWICE * fair)
    found: list[int] = more[np.argsort(-given[more], kind="stable")].tolist()
    return found


def _steps(rows: Rows) -> Ints:
    """How many tokens back each one is, [N, T]."""
    found: Ints = rows.at[:, None] - np.arange(rows.ids.shape[1])
    return found


def _most(what: str, there: Callable[[Rows], Bools]) -> _Aim:
    """More than half of what does not go to the sink goes to some tokens, if there are any."""
    return _Aim(
        f"looks mostly at {what}",
        lambda rows: _awake(rows) & (there(rows) & rows.reached).any(1),
        lambda rows: rows.mass(there(rows)) > HALF,
    )


def _of_sort(sort: Sort) -> Callable[[Rows], Bools]:
    return lambda rows: sort.ids[rows.ids]


def _any(rows: Rows) -> Bools:
    return np.ones(len(rows.at), dtype=bool)


def _awake(rows: Rows) -> Bools:
    found: Bools = rows.weights.sum(1) >= AWAKE
    return found


def _rests(rows: Rows) -> Bools:
    found: Bools = rows.weights.sum(1) < HALF
    return found


def _evenly(rows: Rows) -> Bools:
    shares = rows.weights / np.maximum(rows.weights.sum(1, keepdims=True), TINY)
    found: Bools = np.abs(shares - rows.even().weights).sum(1) / 2 <= EVEN
    return found


def _copies(rows: Rows) -> Bools:
    own = rows.ids[np.arange(len(rows.at)), rows.at][:, None]
    found: Bools = (rows.ids == own) & (_steps(rows) > 0)
    return found


def _after_copies(rows: Rows) -> Bools:
    found = np.zeros(rows.ids.shape, dtype=bool)
    found[:, 1:] = _copies(rows)[:, :-1]
    return found
