"""Prompts that begin alike, each beginning once: B prompts, T tokens, P beginnings, K circuits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Tree:
    """Prompts as their beginnings, each of which stands once.

    What a model carries at a token is a function of the tokens up to it, so that what several
    prompts begin with is computed once for all of them. There are more beginnings than prompts.
    """

    tokens: Tensor  # [P] id of the last token of each beginning
    depths: Tensor  # [P] index of that token in its prompts
    paths: Tensor  # [B, T] the beginnings of each prompt; after the prompt, its first one again
    last: Tensor  # [B] index of each prompt's last token
    places: Tensor  # [P] where each beginning stands first in the flattened paths

    @property
    def ends(self) -> Tensor:
        """Of each prompt the beginning that is all of it, [B]."""
        return self.paths.gather(1, self.last[:, None])[:, 0]

    @property
    def sees(self) -> Tensor:
        """Which beginnings [P, P] each has among its tokens, itself too."""
        length = self.paths.shape[1]
        path = self.paths[self.places // length]  # [P, T]
        among = torch.arange(length, device=path.device) <= self.depths[:, None]
        times = among.new_zeros(len(path), len(path), dtype=torch.int)
        return times.scatter_add_(1, path, among.int()) > 0

    @property
    def padded(self) -> Tensor:
        """The token ids of the prompts, one a row, [B, T]."""
        return self.tokens[self.paths]

    def apart(self, x: Tensor) -> Tensor:
        """What holds at beginnings, [K, P, D] -> [K * B, T, D]; at ends alone [K * B, 1, D]."""
        if x.shape[1] != len(self.tokens):
            return x.flatten(0, 1).unsqueeze(1)
        return x[:, self.paths].flatten(0, 1)

    def together(self, x: Tensor) -> Tensor:
        """The way back: [K * B, T, D] -> [K, P, D], and [K * B, 1, D] -> [K, B, D]."""
        length = x.shape[1]
        rows = x.reshape(-1, len(self.paths) * length, x.shape[-1])
        return rows if length == 1 else rows[:, self.places]

    def fitting(self, value: Tensor, x: Tensor) -> Tensor:
        """Of a value [D], [1, P, D] or [1, B, D] what belongs to activations [..., P or B, D].

        What is given of prompts alone holds at all of their tokens.
        """
        if value.dim() == 1 or value.shape[1] == x.shape[-2]:
            return value
        of_prompts = value.shape[1] == len(self.paths)
        return value[:, self.places // self.paths.shape[1] if of_prompts else self.ends]
