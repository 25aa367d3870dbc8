"""Which token of a prompt corresponds to which token of its partner.

Two prompts of as many tokens correspond token by token. Otherwise the tokens before the cue count
from the left and those after it from the right: these are the same in both. Within the cue they
count from the right, too, because its last token is the one that has seen all of it; tokens that
the longer cue has besides, on its left, correspond to the first token of the shorter one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from pytest_circuits.prompts.space import Prompt
from pytest_circuits.spec.problems import quoted

Tokens = Sequence[int]  # ids


def correspondence(tokens: Tokens, partner: Tokens) -> tuple[int, ...] | None:
    """For each token of a prompt the index of the partner's; None where a cue has no token."""
    if len(tokens) == len(partner):
        return tuple(range(len(tokens)))
    before = _shared(tokens, partner)
    after = _shared(tokens[before:][::-1], partner[before:][::-1])
    cues = len(tokens) - before - after, len(partner) - before - after
    if not all(cues):
        return None
    inside = (before + max(0, cues[1] - cues[0] + i) for i in range(cues[0]))
    return (*range(before), *inside, *range(len(partner) - after, len(partner)))


def apart(prompt: Prompt) -> str:
    """What to say of a prompt whose tokens do not correspond to its partner's."""
    return (
        f"the tokens of {quoted(prompt.text)} do not correspond to those of its partner "
        f"{quoted(prompt.partner)}: what differs has no token at all in one of them"
    )


def _shared(one: Tokens, other: Tokens) -> int:
    """How many tokens both begin with."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
