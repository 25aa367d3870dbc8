"""Two inputs, one answer: both have to be on, or just one of them.

One word says "red" or "blue", another "up" or "down". A head each finds such a word and copies what
it says; neurons fire where both are on and, of the exclusive or, where both are off. What they
write outweighs a constant preference for the other answer.
"""

from __future__ import annotations

from tests.known_models.answer import KnownAnswer
from tests.known_models.draft import MARK

FIRST, SECOND = {"red": 1.0, "blue": -1.0}, {"up": 1.0, "down": -1.0}
WORDS = ("alpha", "beta", "gamma", "delta", "kappa", "sigma", "omega", "theta")
YES, NO = " yes", " no"
PROMPT = (
    '  prompt: "so {{first}} {{second}} {{words}}"\n  slots:\n'
    f"    words: {{{{words: {{{{from: [{', '.join(WORDS)}], count: [5, 9]}}}}}}}}\n"
    "{rest}"
)
CONSTANT = 4.0  # nats, by which the answer is preferred that neurons speak against
THRESHOLD = 0.5 * MARK  # between the sum of two that differ, and that of two that agree


def both(seed: int, *, width: int = 128) -> KnownAnswer:
    """Yes where both are on."""
    return _model(seed, "both", signs=(1.0,), width=width)


def just_one(seed: int, *, width: int = 128) -> KnownAnswer:
    """No where both are on or both are off."""
    return _model(seed, "just_one", signs=(1.0, -1.0), width=width)
