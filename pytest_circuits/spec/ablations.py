"""The ablations: what each puts in place of an excluded node, in one table.

No torch is imported here: the values are made by the methods that tensors have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol


class Ablation(StrEnum):
    """What the activation of an excluded node becomes."""

    MEAN = "mean"
    ZERO = "zero"
    RESAMPLE = "resample"

    @property
    def kind(self) -> Kind:
        """All that is to be known of it."""
        return KINDS[self]


class Reference(Protocol):
    """The part of a `model.reference.Reference` that fills are made of."""

    @property
    def mean(self) -> Mapping[str, Any]:
        """[D] by site."""

    @property
    def bank(self) -> Mapping[str, Any]:
        """[tokens of the bank, D] by site."""


Fill = dict[str, Any]  # tensors by site; each broadcasts against [K, B, T, D]


@dataclass(frozen=True, slots=True)
class Kind:
    """One ablation.

    fill: from the reference, and for each of B prompts the token of the bank that it takes [B], to
        what an excluded node becomes.
    constant: that is the same whatever the prompt, so that a circuit can be compiled and searched.
    of_rest: what a program that shows a circuit says of everything else.
    """

    fill: Callable[[Reference, Any], Fill]
    constant: bool
    of_rest: str


KINDS = {
    Ablation.MEAN: Kind(
        fill=lambda reference, _picks: dict(reference.mean),
        constant=True,
        of_rest="Everything else is constant, at its mean over the reference text.",
    ),
    Ablation.ZERO: Kind(
        fill=lambda reference, _picks: {site: 0 * mean for site, mean in reference.mean.items()},
        constant=True,
        of_rest="Everything else is zero.",
    ),
    Ablation.RESAMPLE: Kind(
        fill=lambda reference, picks: {
            site: bank[picks].unsqueeze(1) for site, bank in reference.bank.items()
        },
        constant=False,
        of_rest="Everything else is at its mean here, and resampled in the claims.",
    ),
}
