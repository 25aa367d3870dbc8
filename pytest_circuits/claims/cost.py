"""What a claim costs, before it is run: prompt-forwards of the candidate, at most.

Of a claim that passes, against a recorded baseline: a counterexample is worth some more, which look
for what accounts for it, and against a model `stable` searches, as other claims do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from pytest_circuits.claims.bench import CHECKED_PAIRS, CONTROL_PAIRS
from pytest_circuits.model.protocol import Model
from pytest_circuits.prompts.space import PromptSpace
from pytest_circuits.spec.ablations import Ablation
from pytest_circuits.spec.load import LoadedSpec
from pytest_circuits.spec.template import contrasts
from pytest_circuits.spec.types import Spec


class Shared(StrEnum):
    """Runs that more than one claim asks for: what one of them has run is there for the others."""

    WHOLE = "whole model"
    ALONE = "circuit alone"
    WITHOUT = "without the circuit"
    CHECKED = "circuit alone, compiled and not, on a few prompts"
    RANDOM_ALONE = "random circuits alone"
    WITHOUT_RANDOM = "without random circuits"


Run: TypeAlias = Shared | tuple[Shared, Ablation]  # under the first ablation, or another one


@dataclass(frozen=True, slots=True)
class Cost:
    """Prompt-forwards of one claim."""

    shared: Mapping[Run, int] = field(default_factory=dict)  # done once for all claims
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
        return 2 * (drawn(self.spec, most) + self.regressions)

    @property
    def regressions(self) -> int:
        """Pairs of the prompts that once broke a law: at most one for each contrast."""
        return len(self.spec.regressions) * len(contrasts(self.spec.behavior))

    @property
    def alone(self) -> dict[Run, int]:
        """The same of the circuit alone, which may run compiled and is held to the model then."""
        may_compile = self.spec.ablations[0].kind.constant
        both_ways = may_compile * 4 * min(self.pairs, CHECKED_PAIRS)
        return {**self.first(Shared.ALONE, self.prompts), Shared.CHECKED: both_ways}

    def first(self, run: Shared, prompts: int, *, views: int = 1) -> dict[Run, int]:
        """Of a run under the first ablation, which may have to run partners too, once for views."""
        return {run: self._with_partners(self.spec.ablations[0], prompts, views)}

    def each(self, run: Shared, prompts: int, *, views: int = 1) -> dict[Run, int]:
        """The same under each ablation."""
        others: dict[Run, int] = {
            (run, ablation): self._with_partners(ablation, prompts, views)
            for ablation in self.spec.ablations[1:]
        }
        return {**self.first(run, prompts, views=views), **others}

    def under_each(self, prompts: int, *, views: int = 1) -> int:
        """The sum of these."""
        return sum(self.each(Shared.ALONE, prompts, views=views).values())

    @staticmethod
    def _with_partners(ablation: Ablation, prompts: int, views: int) -> int:
        return prompts + ablation.kind.from_partner * (prompts // views)

    @property
    def controls(self) -> int:
        """Prompts of one run of all random circuits."""
        return 2 * CONTROL_PAIRS * self.spec.protocol.controls

    @property
    def silent(self) -> int:
        """Prompts that show which nodes never differ between partners."""
        asked = any(ablation.kind.from_partner for ablation in self.spec.ablations)
        return asked * 4 * CONTROL_PAIRS

    def near(self, runs: int) -> int:
        """Prompts near those that come closest to breaking a law of so many runs."""
        return self.is_sampled * 2 * self.spec.protocol.search * self.groups * runs


def drawn(spec: Spec, most: int) -> int:
    """Pairs of each group that can be drawn, at most so many of each."""
    return sum(min(group.size, most) for group in PromptSpace(spec.behavior).groups)
