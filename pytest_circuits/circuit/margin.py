"""How far a single prompt must go wrong before it breaks a law.

Models differ by a factor of a hundred in how much they prefer what they prefer, so that no number
of nats means the same of two of them: where a specification names none, it is a share of the whole
model's own preference.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.view import WHOLE
from pytest_circuits.prompts.space import Pair
from pytest_circuits.spec.types import Protocol

SHARE = 0.25  # of the median preference
LEAST = 0.01  # nats, of a model that prefers nothing: above rounding, and still a margin


def margin_of(protocol: Protocol, runner: Runner, pairs: Sequence[Pair]) -> float:
    """The margin in nats: the protocol's, or else a quarter of the median preference on the pairs.

    To three digits, so that what texts say is what was used; a NaN or an infinity does not count.
    """
    if protocol.margin is not None:
        return protocol.margin
    sizes = np.abs(runner.margins(pairs, WHOLE))
    finite = sizes[np.isfinite(sizes)]
    return max(LEAST, float(f"{SHARE * np.median(finite):.3g}")) if finite.size else LEAST
