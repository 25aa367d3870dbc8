"""The prompts of a search as tensors: tokenised once, drawn from at every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
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
    places: (
        Tensor  # [K, P, T] index of the partner's token that corresponds to each; 0 if not asked
    )

    @classmethod
    def of(cls, pairs: Sequence[Pair], encoder: Encoder, *, partners: bool = False) -> Prompts:
        """All of some pairs, padded to the longest prompt: K = 1.

        partners: whether it will be asked what their partners carry.
        """
        prompts = prompts_of(pairs)
        batch = encoder.batch(prompts, rows=len(prompts))
        places = torch.zeros_like(batch.tokens)
        for row, prompt in enumerate(prompts if partners else ()):
            found = encoder.places(prompt)
            places[row, : len(found)] = torch.tensor(found)
        return cls(batch.tokens[None], batch.last[None], batch.choices[None], places[None])

    @property
    def length(self) -> int:
        """Tokens of a prompt, padding included."""
        return self.tokens.shape[-1]

    def padded(self, length: int) -> Prompts:
        more = 0, length - self.length
        return replace(self, tokens=F.pad(self.tokens, more), places=F.pad(self.places, more))

    def part(self, circuits: slice) -> Prompts:
        return self._each(lambda x: x[circuits])

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
        coin = swaps(self.choices.shape[1] // 2, seed=seed)
        swap = torch.from_numpy(np.repeat(coin, 2)).to(self.choices.device)
        return replace(
            self, choices=torch.where(swap[:, None], self.choices.flip(-1), self.choices)
        )

    def _at(self, rows: Tensor | slice) -> Prompts:
        return self._each(lambda x: x[:, rows])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Prompts:
        return Prompts(*map(change, (self.tokens, self.last, self.choices, self.places)))


def swaps(pairs: int, *, seed: int) -> NDArray[np.bool_]:
    """Which half of so many pairs has answer and foil swapped."""
    return np.random.Generator(np.random.Philox(key=seed)).permutation(pairs) < pairs // 2


def together(prompts: Sequence[Prompts]) -> Prompts:
    """Prompts of several circuits, padded to one length, as those of a batch."""
    return Prompts(
        torch.cat([some.tokens for some in prompts]),
        torch.cat([some.last for some in prompts]),
        torch.cat([some.choices for some in prompts]),
        torch.cat([some.places for some in prompts]),
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
