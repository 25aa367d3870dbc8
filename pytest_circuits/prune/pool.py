"""The prompts of a search as tensors: tokenised once, drawn from at every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pytest_circuits.circuit.encoding import Encoder
from pytest_circuits.prompts.space import Pair, PromptSpace, prompts_of

WHOLE_SPACE = 192  # pairs up to which a space is searched and judged as a whole
TRAINING = 1024  # pairs that masks learn from, where the space is larger
# Neither shares a seed with the claims, see `spec.load.spec_seed`.
_TRAINING_SEED, _EVALUATION_SEED = 1_000_003, 9_000_000_000_019


@dataclass(frozen=True, slots=True)
class Prompts:
    """Prompts for K circuits: both members of P / 2 contrast pairs each, in turn."""

    tokens: Tensor  # [K, P, T] ids, right-padded
    last: Tensor  # [K, P] index of each prompt's last token
    choices: Tensor  # [K, P, 2] ids of answer and foil

    @classmethod
    def of(cls, pairs: Sequence[Pair], encoder: Encoder) -> Prompts:
        """All of some pairs, padded to the longest prompt: K = 1."""
        prompts = prompts_of(pairs)
        batch = encoder.batch(prompts, rows=len(prompts))
        return cls(batch.tokens[None], batch.last[None], batch.choices[None])

    @property
    def length(self) -> int:
        """Tokens of a prompt, padding included."""
        return self.tokens.shape[-1]

    def padded(self, length: int) -> Prompts:
        return replace(self, tokens=F.pad(self.tokens, (0, length - self.length)))

    def part(self, circuits: slice) -> Prompts:
        return Prompts(self.tokens[circuits], self.last[circuits], self.choices[circuits])

    def first(self, pairs: int) -> Prompts:
        return self._at(slice(2 * pairs))

    def draw(self, rng: np.random.Generator, pairs: int) -> Prompts:
        """So many pairs, drawn with replacement."""
        first = 2 * rng.integers(self.tokens.shape[1] // 2, size=pairs)
        rows = torch.from_numpy(np.stack([first, first + 1], axis=1).ravel())
        return self._at(rows.to(self.tokens.device))

    def swapped(self, *, seed: int) -> Prompts:
        """The same pairs with answer and foil swapped in half of them, by a seeded coin each.

        A behavior that makes no sense: no mechanism of the model can be what it asks for.
        """
        pairs = self.choices.shape[1] // 2
        coin = np.random.Generator(np.random.Philox(key=seed)).permutation(pairs) < pairs // 2
        swap = torch.from_numpy(np.repeat(coin, 2)).to(self.choices.device)
        return replace(
            self, choices=torch.where(swap[:, None], self.choices.flip(-1), self.choices)
        )

    def _at(self, rows: Tensor | slice) -> Prompts:
        return Prompts(self.tokens[:, rows], self.last[:, rows], self.choices[:, rows])


def together(prompts: Sequence[Prompts]) -> Prompts:
    """Prompts of several circuits, padded to one length, as those of a batch."""
    return Prompts(
        torch.cat([some.tokens for some in prompts]),
        torch.cat([some.last for some in prompts]),
        torch.cat([some.choices for some in prompts]),
    )


@dataclass(frozen=True, slots=True)
class Split:
    """Pairs that masks learn from, and those that decide which circuit is good enough."""

    training: tuple[Pair, ...]
    evaluation: tuple[Pair, ...]
    weights: tuple[float, ...]  # of the pairs of the evaluation, summing to one


def split(space: PromptSpace, *, evaluation: int) -> Split:
    """Training and evaluation pairs, with none in common unless the whole space is both.

    A space of up to WHOLE_SPACE pairs is run whole by the claims too, unless `protocol.pairs` is
    set below its size: what holds on all of it needs no prompts that were not seen.
    """
    if space.size <= WHOLE_SPACE:
        enumerated = list(space.enumerate())
        pairs = tuple(pair for pair, _ in enumerated)
        return Split(pairs, pairs, tuple(float(weight) for _, weight in enumerated))
    chosen = tuple(dict.fromkeys(space.sample(evaluation, seed=_EVALUATION_SEED)))
    training = tuple(
        pair for pair in space.sample(TRAINING, seed=_TRAINING_SEED) if pair not in set(chosen)
    )
    return Split(training, chosen, (1 / len(chosen),) * len(chosen))
