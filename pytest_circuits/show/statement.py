"""A statement about a part of a circuit, and how well it held where it was not made.

A statement is a prediction. It is made on one half of the prompts and of the reference text, and
checked on the other; what does not hold there is not said.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

LEAST = 0.8  # share of the predictions that have to hold for a statement to be said
ABOVE = 0.2  # how far that share has to be above what chance gives
FEWEST = 10  # predictions that have to be checked


class Topic(StrEnum):
    """What a statement is about."""

    LOOKS = "looks"  # what a head attends to
    TEXT = "text"  # where a node is on in the reference text
    CUES = "cues"  # what it carries with each cue
    PUSH = "pushes"  # which answer it speaks for
    RAISES = "raises"  # which of all tokens it makes more likely than any other


@dataclass(frozen=True, slots=True)
class Share:
    """How often predictions of one sort held where they were checked.

    chance: the share that would hold if there was nothing in it; None: that is not known.
    """

    holds: int
    count: int
    of: str  # what was counted, as it stands in a sentence
    chance: float | None = None

    @property
    def rate(self) -> float:
        return self.holds / self.count if self.count else 0.0

    @property
    def stands(self) -> bool:
        """Whether it held often enough, and more often than by chance."""
        lift = self.chance is None or self.rate >= self.chance + ABOVE
        return self.count >= FEWEST and self.rate >= LEAST and lift


@dataclass(frozen=True, slots=True)
class Statement:
    """What is said of a part, and each way in which it was checked."""

    topic: Topic
    says: str
    shares: tuple[Share, ...]
    fit: float = 1.0  # the share that held where it was made
    little: bool = False  # it says that the part does next to nothing

    @property
    def stands(self) -> bool:
        """Whether it is to be said."""
        return all(share.stands for share in self.shares)

    @property
    def rate(self) -> float:
        """The share of the sort that held least."""
        return min(share.rate for share in self.shares)


@dataclass(frozen=True, slots=True)
class Example:
    """A token of the reference text at which a node has a value, with some text around it."""

    quantile: float  # share of all tokens whose values are further from the usual one
    before: str
    token: str
    after: str
    value: float


@dataclass(frozen=True, slots=True)
class Part:
    """A node or a head, and what was found out about it."""

    name: str
    is_a: str  # what it is, in words
    tried: tuple[Statement, ...]
    fact: str = ""  # read from the weights: nothing is predicted
    examples: tuple[Example, ...] = ()

    @property
    def said(self) -> tuple[Statement, ...]:
        """What held."""
        return tuple(statement for statement in self.tried if statement.stands)

    @property
    def is_idle(self) -> bool:
        """Whether it is said to push next to nothing, whatever the cue."""
        pushed = [statement for statement in self.tried if statement.topic is Topic.PUSH]
        return bool(pushed) and all(each.little and each.stands for each in pushed)

    def best_unsaid(self, topic: Topic) -> Statement | None:
        """The statement of a topic that came nearest, where none is said."""
        mine = [statement for statement in self.tried if statement.topic is topic]
        if any(statement.stands for statement in mine):
            return None
        return max(mine, key=lambda each: each.rate, default=None)


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the parts of a circuit do, in forward order."""

    parts: tuple[Part, ...]
    prompts: int  # on which statements were checked
    tokens: int  # of reference text, the same
    value: str  # what an ablated node becomes, as `its mean`

    @property
    def tried(self) -> int:
        """Statements that were checked."""
        return sum(len(part.tried) for part in self.parts)

    @property
    def said(self) -> int:
        """Those that held."""
        return sum(len(part.said) for part in self.parts)
