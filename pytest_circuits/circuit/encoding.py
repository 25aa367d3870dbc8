"""Prompts as tensors: token ids, the last token, and the ids of answer and foil."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_circuits.errors import SpecError
from pytest_circuits.prompts.correspondence import apart, correspondence
from pytest_circuits.prompts.space import Prompt

Floats = NDArray[np.float64]

LENGTH_STEP = 8  # prompts are padded to a multiple of this many tokens


def floats(x: Tensor) -> Floats:
    found: Floats = x.detach().double().cpu().numpy()
    return found


@dataclass(frozen=True, slots=True)
class Batch:
    """Prompts of one padded length, on the model's device."""

    tokens: Tensor  # [B, T] ids, right-padded
    last: Tensor  # [B] index of each prompt's last token
    choices: Tensor  # [B, 2] ids of answer and foil

    def preferences(self, logits: Tensor) -> Tensor:
        """Logits of answer and foil, [K, B, 2], out of logits at the last token [K, B, V]."""
        return preferences(logits, self.choices)


def preferences(logits: Tensor, choices: Tensor) -> Tensor:
    """Out of logits [K, B, V] those of the tokens `choices` [B, 2]: [K, B, 2]."""
    rows = torch.arange(logits.shape[1], device=logits.device)[:, None]
    return logits[:, rows, choices]


class Reader(Protocol):
    """What a model has to say about itself for prompts to be put into its tokens."""

    @property
    def max_tokens(self) -> int:
        """Longest prompt, in tokens."""

    @property
    def device(self) -> torch.device:
        """Where its tokens have to be."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text."""


class Encoder:
    """Turns prompts into batches for one model; each prompt is tokenised once."""

    def __init__(self, model: Reader) -> None:
        self.model = model
        self._known: dict[Prompt, _Encoded] = {}
        self._texts: dict[str, tuple[int, ...]] = {}

    def tokens(self, prompt: Prompt) -> tuple[int, ...]:
        """A prompt's token ids."""
        return self._encode(prompt).tokens

    def groups(
        self, prompts: Sequence[Prompt], *, rows: int, partners: bool = False
    ) -> Iterator[list[int]]:
        """Indexes of prompts that can share a batch: equal padded length, at most `rows`.

        partners: of those as well.
        """
        by_length: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for index, prompt in enumerate(prompts):
            other = padded_length(len(self.partner(prompt))) if partners else 0
            by_length[padded_length(len(self.tokens(prompt))), other].append(index)
        for _, indexes in sorted(by_length.items()):
            for start in range(0, len(indexes), rows):
                yield indexes[start : start + rows]

    def batch(self, prompts: Sequence[Prompt], *, rows: int) -> Batch:
        """Prompts as a batch of exactly `rows` rows; the rows after the prompts are padding."""
        encoded = [self._encode(p) for p in prompts]
        tokens = torch.zeros(
            rows, padded_length(max(len(e.tokens) for e in encoded)), dtype=torch.long
        )
        last = torch.zeros(rows, dtype=torch.long)
        choices = torch.zeros(rows, 2, dtype=torch.long)
        for row, prompt in enumerate(encoded):
            tokens[row, : len(prompt.tokens)] = torch.tensor(prompt.tokens)
            last[row] = len(prompt.tokens) - 1
            choices[row] = torch.tensor(prompt.choices)
        device = self.model.device
        return Batch(tokens.to(device), last.to(device), choices.to(device))

    def choices(self, prompt: Prompt) -> tuple[int, int]:
        """Ids of answer and foil."""
        return self._encode(prompt).choices

    def places(self, prompt: Prompt) -> tuple[int, ...]:
        """For each token the index of the partner's that corresponds to it; SpecError if none does.

        Empty for a prompt without a partner.
        """
        if not prompt.partner:
            return ()
        places = correspondence(self.tokens(prompt), self.partner(prompt))
        if places is None:
            raise SpecError(apart(prompt))
        return places

    def partner(self, prompt: Prompt) -> tuple[int, ...]:
        """Token ids of the other prompt of a pair; none where there is none."""
        known = self._texts.get(prompt.partner)
        if known is None:
            known = tuple(self.model.encode(prompt.partner)) if prompt.partner else ()
            self._texts[prompt.partner] = known
        return known

    def _encode(self, prompt: Prompt) -> _Encoded:
        known = self._known.get(prompt)
        if known is None:
            known = self._known[prompt] = _encode(self.model, prompt)
        return known


@dataclass(frozen=True, slots=True)
class _Encoded:
    tokens: tuple[int, ...]
    choices: tuple[int, int]  # answer, foil


def padded_length(count: int) -> int:
    return -(-count // LENGTH_STEP) * LENGTH_STEP


def _encode(model: Reader, prompt: Prompt) -> _Encoded:
    tokens = model.encode(prompt.text)
    if not 0 < len(tokens) <= model.max_tokens:
        raise SpecError(
            f"the prompt {prompt.text!r} has {len(tokens)} tokens; the model takes 1 to "
            f"{model.max_tokens}"
        )
    choices = []
    for wanted in (prompt.answer, prompt.foil):
        continued = model.encode(prompt.text + wanted)
        if continued[:-1] != tokens:
            raise SpecError(f"{wanted!r} is not a single token after the prompt {prompt.text!r}")
        choices.append(continued[-1])
    return _Encoded(tuple(tokens), (choices[0], choices[1]))
