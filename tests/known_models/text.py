"""What a kind of model reads: its tokenizer, learned once, and its reference text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pytest_circuits.model.tokenizer import Tokenizer, train_tokenizer

WINDOW = 24  # tokens of one row of reference text


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceText:
    """A tokenizer and the windows that the means of a reference are taken over."""

    tokenizer: Tokenizer
    windows: Tensor  # [R, WINDOW]
    share: Tensor  # [V] of the text, by token

    def ids(self, word: str) -> list[int]:
        """The tokens that are this word, with or without a space in front."""
        found = [ids[0] for text in (word, f" {word}") if len(ids := self._encode(text)) == 1]
        if not found:
            raise ValueError(f"{word!r} is not learned as one token")
        return found

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text)


def read(lines: Sequence[str], *, words: Sequence[str]) -> ReferenceText:
    """Learn a tokenizer that has each of the words after a space as one token."""
    tokenizer = train_tokenizer(lines, vocab_size=640, special=("<|end|>",))
    for word in words:
        if len(tokenizer.encode(f" {word}")) != 1:
            raise ValueError(f"{word!r} is not learned as one token")
    ids = [index for line in lines for index in tokenizer.encode(line)]
    rows = len(ids) // WINDOW
    windows = torch.tensor(ids[: rows * WINDOW]).view(rows, WINDOW)  # [R, T]
    counts = torch.bincount(windows.flatten(), minlength=tokenizer.vocab_size)
    return ReferenceText(tokenizer, windows, counts / counts.sum())


def generator(seed: int) -> torch.Generator:
    """A source of random numbers of its own."""
    return torch.Generator().manual_seed(seed)


def pick(choices: Sequence[str], source: torch.Generator) -> str:
    """One of several texts."""
    return choices[int(torch.randint(len(choices), (1,), generator=source))]


def some(words: Sequence[str], least: int, most: int, source: torch.Generator) -> str:
    """Between `least` and `most` words, joined by spaces."""
    count = least + int(torch.randint(most - least + 1, (1,), generator=source))
    return " ".join(pick(words, source) for _ in range(count))
