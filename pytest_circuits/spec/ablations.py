"""The ablations: what each puts in place of an excluded node, in one table.

No torch is imported here: the values are made by the methods that tensors have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol


class Ablation(StrEnum):
    """What the activation of an excluded node becomes."""

    MEAN = "mean"
    CONTRAST = "contrast"
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
class Given:
    """What fills are made of, for B prompts; a constant one needs the reference alone."""

    reference: Reference
    picks: Any = None  # [B] tokens of the bank
    partner: Fill | None = None  # what the partners carry at the corresponding tokens


@dataclass(frozen=True, slots=True)
class Kind:
    """One ablation.

    fill: what an excluded node becomes.
    constant: that is the same whatever the prompt, so that a circuit can be compiled and searched.
    of_rest: what a program that shows a circuit says of everything else.
    value: what an excluded node becomes, as the end of `the rest at ...`.
    from_partner: it needs the other prompt of the pair, and is the mean where there is none.
    """

    fill: Callable[[Given], Fill]
    constant: bool
    of_rest: str
    value: str
    from_partner: bool = False


KINDS = {
    Ablation.MEAN: Kind(
        fill=lambda given: dict(given.reference.mean),
        constant=True,
        of_rest="Everything else is constant, at its mean over the reference text.",
        value="its mean",
    ),
    Ablation.CONTRAST: Kind(
        fill=lambda given: given.partner or dict(given.reference.mean),
        constant=False,
        of_rest="Everything else is at its mean here, and at the partner's values in the claims.",
        value="the partner's values",
        from_partner=True,
    ),
    Ablation.ZERO: Kind(
        fill=lambda given: {site: 0 * mean for site, mean in given.reference.mean.items()},
        constant=True,
        of_rest="Everything else is zero.",
        value="zero",
    ),
    Ablation.RESAMPLE: Kind(
        fill=lambda given: {
            site: bank[given.picks].unsqueeze(1) for site, bank in given.reference.bank.items()
        },
        constant=False,
        of_rest="Everything else is at its mean here, and resampled in the claims.",
        value="values of random tokens",
    ),
}


def first_constant(ablations: Iterable[Ablation]) -> Ablation | None:
    """The first ablation that puts the same in whatever the prompt, if there is one."""
    return next((ablation for ablation in ablations if ablation.kind.constant), None)
