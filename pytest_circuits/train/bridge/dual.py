"""How many weights stay: a dual variable that holds the loss at its bound.

As in the search for masks (`prune.masks`), one setting serves every model: where the loss has room
below its bound the pressure grows, where it has none the pressure gives way. The share of weights
that stays is its inverse. Sparsity under a constrained loss: arXiv 2512.05865.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

EVERY = 10  # steps between two updates
_AIM = 0.8  # of the bound, so that what is written at an evaluation meets it
_SMOOTH = 0.2  # share of an update in the running mean of the rise
_WAY = 0.4  # share of the updates that the way down to the least density takes without hindrance
_BACK = 3.0  # how much faster weights come back than they go


@dataclass(slots=True)
class Dual:
    bound: float  # nats per token
    least: float  # density
    updates: int  # in the whole run
    density: float = 1.0
    above: float = 0.0  # running means: of the loss above the dense model's, nats per token
    apart: float = 0.0  # and of the divergence from its predictions

    @property
    def rise(self) -> float:
        return max(self.above, self.apart)

    def update(self, above: float, apart: float, *, speed: float) -> None:
        """Take in how far from the dense model the sparse one is on a batch of held-out text.

        speed: share of the learning rate; weights that hardly learn are hardly cut.
        """
        self.above += _SMOOTH * (above - self.above)
        self.apart += _SMOOTH * (apart - self.apart)
        aim = _AIM * self.bound
        room = min(max((aim - self.rise) / aim, -_BACK), 1.0)
        way = log(1 / self.least) / max(_WAY * self.updates, 1.0)
        self.density *= exp(-way * room * (speed if room > 0 else 1.0))
        self.density = min(max(self.density, self.least), 1.0)
