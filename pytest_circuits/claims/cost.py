"""What a claim costs, before it is run: prompt-forwards of the candidate, at most.

Of a claim that passes, against a recorded baseline: a counterexample is worth some more, which look
for what accounts for it, and against a model `stable` searches, as other claims do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pytest_circuits.claims.bench import CHECKED_PAIRS, CONTROL_PAIRS
from pytest_circuits.model.protocol import Model
from pytest_circuits.prompts.space import PromptSpace
from pytest_circuits.spec.load import LoadedSpec
from pytest_circuits.spec.types import Spec


class Shared(StrEnum):
    """Runs that more than one claim asks for: what one of them has run is there for the others."""

    WHOLE = "whole model"
    ALONE = "circuit alone"
    WITHOUT = "without the circuit"
    CHECKED = "circuit alone, compiled and not, on a few prompts"
    RANDOM_ALONE = "random circuits alone"
    WITHOUT_RANDOM = "without random circuits"


@dataclass(frozen=True, slots=True)
class Cost:
    """Prompt-forwards of one claim."""

    shared: Mapping[Shared, int] = field(default_factory=dict)  # by run; done once for all claims
    own: int = 0  # all that no other claim asks for


@dataclass(frozen=True, slots=True)
class Situation:
    spec: Spec
    model: Model | None = None  # None: none is at hand
    others: tuple[LoadedSpec, ...] = ()  # behaviors that `specific` compares with

    @property
    def groups(self) -> int:
        """Groups of prompts, for each of which a rate is decided."""
        return len(PromptSpace(self.spec.behavior).groups)

    @property
    def is_sampled(self) -> bool:
        groups = PromptSpace(self.spec.behavior).groups
        return any(group.size > self.spec.protocol.pairs for group in groups)

    @property
    def pairs(self) -> int:
        return drawn(self.spec, self.spec.protocol.pairs)

    @property
    def prompts(self) -> int:
        """Prompts of one run over the sample and the search, or over all there are."""
        protocol = self.spec.protocol
        most = protocol.pairs + self.is_sampled * protocol.search
        return 2 * (drawn(self.spec, most) + len(self.spec.regressions))

    @property
    def alone(self) -> dict[Shared, int]:
        """The same of the circuit alone, which may run compiled and is held to the model then."""
        may_compile = self.spec.ablations[0].kind.constant
        both_ways = may_compile * 4 * min(self.pairs, CHECKED_PAIRS)
        return {Shared.ALONE: self.prompts, Shared.CHECKED: both_ways}

    @property
    def controls(self) -> int:
        """Prompts of one run of all random circuits."""
        return 2 * CONTROL_PAIRS * self.spec.protocol.controls

    def near(self, runs: int) -> int:
        """Prompts near those that come closest to breaking a law of so many runs."""
        return self.is_sampled * 2 * self.spec.protocol.search * self.groups * runs


def drawn(spec: Spec, most: int) -> int:
    """Pairs of each group that can be drawn, at most so many of each."""
    return sum(min(group.size, most) for group in PromptSpace(spec.behavior).groups)
