"""The prompts of a search as tensors: tokenised once, drawn from at every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pytest_circuits.circuit.encoding import Encoder
from pytest_circuits.prompts.space import Pair, PromptSpace, prompts_of

WHOLE_SPACE = 192  # pairs up to which a space is searched and judged as a whole
TRAINING = 1024  # pairs that masks learn from, where the space is larger
# Neither shares a seed with the claims, which derive theirs from the specification's digest.
_TRAINING_SEED, _EVALUATION_SEED = 1_000_003, 9_000_000_000_019


@dataclass(frozen=True, slots=True)
class Drawn:
    """Prompts for K circuits: both members of P / 2 contrast pairs each, in turn."""

    tokens: Tensor  # [K, P, T] ids, right-padded
    last: Tensor  # [K, P] index of each prompt's last token
    choices: Tensor  # [K, P, 2] ids of answer and foil

    def part(self, circuits: slice) -> Drawn:
        return Drawn(self.tokens[circuits], self.last[circuits], self.choices[circuits])


@dataclass(frozen=True, slots=True)
class Pool:
    """Contrast pairs of one behavior, to draw from: K = 1."""

    all: Drawn

    @classmethod
    def of(cls, pairs: Sequence[Pair], encoder: Encoder) -> Pool:
        """Pairs as tensors, padded to the longest prompt."""
        prompts = prompts_of(pairs)
        batch = encoder.batch(prompts, rows=len(prompts))
        return cls(Drawn(batch.tokens[None], batch.last[None], batch.choices[None]))

    @property
    def length(self) -> int:
        """Tokens of a prompt, padding included."""
        return self.all.tokens.shape[-1]

    def padded(self, length: int) -> Pool:
        """The same prompts, padded to a common length of several pools."""
        tokens = F.pad(self.all.tokens, (0, length - self.length))
        return Pool(Drawn(tokens, self.all.last, self.all.choices))

    def first(self, count: int) -> Drawn:
        prompts = slice(2 * count)
        return Drawn(
            self.all.tokens[:, prompts], self.all.last[:, prompts], self.all.choices[:, prompts]
        )

    def swapped(self, *, seed: int) -> Pool:
        """The same pairs with answer and foil swapped in half of them, by a seeded coin each.

        A behavior that makes no sense: no mechanism of the model can be what it asks for.
        """
        pairs = self.all.choices.shape[1] // 2
        coin = np.random.Generator(np.random.Philox(key=seed)).permutation(pairs) < pairs // 2
        swap = torch.from_numpy(np.repeat(coin, 2)).to(self.all.choices.device)
        choices = torch.where(swap[:, None], self.all.choices.flip(-1), self.all.choices)
        return Pool(Drawn(self.all.tokens, self.all.last, choices))

    def draw(self, rng: np.random.Generator, count: int) -> Drawn:
        """`count` pairs, drawn with replacement."""
        first = 2 * rng.integers(self.all.tokens.shape[1] // 2, size=count)
        rows = torch.from_numpy(np.stack([first, first + 1], axis=1).ravel())
        rows = rows.to(self.all.tokens.device)
        return Drawn(self.all.tokens[:, rows], self.all.last[:, rows], self.all.choices[:, rows])


def together(drawn: Sequence[Drawn]) -> Drawn:
    """Prompts of several circuits, padded to one length, as those of a batch."""
    return Drawn(
        torch.cat([d.tokens for d in drawn]),
        torch.cat([d.last for d in drawn]),
        torch.cat([d.choices for d in drawn]),
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
