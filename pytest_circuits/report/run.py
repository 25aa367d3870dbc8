"""One run of the gate as values: what was put to the test, and what came of it.

A run holds all that its reports tell, and is read back from its record (`report.record`).
"""

from __future__ import annotations

import platform
import posixpath
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainSerializer

import pytest_circuits
from pytest_circuits.claims.evidence import Evidence, Verdict
from pytest_circuits.show.drawing import Drawing
from pytest_circuits.show.heat import Heat

Json = dict[str, Any]
# In the order of the specification, which the sorted keys of a JSON object would not keep.
Ordered = Annotated[
    dict[str, str], PlainSerializer(lambda given: list(given.items())), BeforeValidator(dict)
]
DISTRIBUTIONS = ("hypothesis", "numpy", "pytest", "scipy", "tokenizers", "torch", "transformers")
DELTA = "delta_to_baseline"  # the measure that differs from the baseline's rate


class State(StrEnum):
    """How far a claim came; only one that ran can pass."""

    RAN = "ran"
    RECORDED = "recorded"  # its baseline was written by this run
    SKIPPED = "skipped"
    ERROR = "error"
    DESELECTED = "deselected"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model directory as it was named, and the digest of what it held."""

    path: str  # as it was named
    digest: str  # sha256 of weights, configuration and tokenizer


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a circuit was compared with: a baseline file, or a model at hand."""

    path: str  # of the file relative to the root folder, or of the model as it was named
    model_digest: str  # of the model that the file was recorded from, or of the one at hand
    recorded: bool  # a file


@dataclass(frozen=True, slots=True)
class File:
    """A file that was read, and the sha256 of the very bytes that were evaluated."""

    name: str  # relative to the root folder, or below the folder of the model as it was named
    role: str  # "specification", "model", "baseline" or "baseline model"
    sha256: str  # in hexadecimal


@dataclass(frozen=True, slots=True)
class Waiver:
    """For how long a claim is accepted although it does not pass, and why."""

    until: str  # the last day, in UTC: 2026-12-31
    reason: str  # as the specification has it
    place: str  # where it stands: file, line and column


@dataclass(frozen=True, slots=True)
class Matched:
    """How a circuit was found again, where its nodes have other numbers."""

    file: str | None  # the specification with the new numbers; None: every node is where it was
    moved: int  # nodes
    mean: float  # correlation with the nodes that they were, and the least one
    least: float  # the least of these correlations


@dataclass(frozen=True, slots=True)
class Circuit:
    """What was put to the test: a circuit of a specification, in a model, against a baseline."""

    name: str  # as its specification names it
    spec: str  # relative to the root folder
    digest: str  # of all in the specification that decides the evidence
    declared: tuple[str, ...]  # every claim that the specification makes, in order
    nodes: int  # how many
    edges: int  # how many, whether they are listed or every weight between its nodes
    reference_digest: str  # of the activations that ablation puts in place of a node
    model: Artifact  # that was put to the test
    baseline: Baseline | None  # None: there is none
    device: str  # that it ran on
    files: tuple[File, ...] = ()  # all that its evidence depends on
    drawing: Drawing | None = None  # None: there is nothing to draw, or too much
    heat: Heat | None = (
        None  # what its nodes and heads do at the prompts of one pair; None: as above
    )
    left_out: Ordered = field(default_factory=dict)  # claims not declared, with the reason
    lax: tuple[str, ...] = ()  # limits and prompts that a wrong circuit would pass, and why
    aimless: tuple[str, ...] = ()  # heads with kept values, and what of their aim is not kept
    rivals: int | None = None  # other circuits that a search found; None: it was not made
    waivers: dict[str, Waiver] = field(default_factory=dict)  # by claim
    matched: Matched | None = None  # None: the nodes are those that the specification names
    description: str = ""  # of the behavior, as the specification has it

    @property
    def is_its_baseline(self) -> bool:
        """Whether the model is compared with itself, so that nothing can differ."""
        return self.baseline is not None and self.baseline.model_digest == self.model.digest


@dataclass(frozen=True, slots=True)
class Place:
    """Where a claim stands, and how it is run again."""

    path: str = ""  # of the specification, as the reader can open it
    line: int = 1  # from 1
    column: int = 1  # from 1
    command: str = ""  # runs it again


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a specification cannot be used: one problem, and where it stands."""

    spec: str  # relative to the root folder
    line: int  # from 1
    column: int  # from 1
    text: str  # what is wrong, and what to do


@dataclass(frozen=True, slots=True)
class Result:
    nodeid: str
    circuit: str
    evidence: Evidence
    state: State
    seconds: float = 0.0
    place: Place = Place()
    waived: Waiver | None = None  # what lets it through, although it ran and does not pass

    @property
    def verdict(self) -> Verdict:
        """The verdict, which no waiver changes."""
        return self.evidence.verdict

    @property
    def is_told(self) -> bool:
        """Whether it is told by itself; of all others one sentence of the run says how many."""
        return self.state not in {State.DESELECTED, State.NOT_RUN}


@dataclass(frozen=True, slots=True)
class Meaning:
    """What reports say of a claim, by whatever circuit it is made: from its card."""

    sentence: str  # what it says, in plain words
    at_most: bool = False  # its rate must not exceed its threshold
    partner: str = ""  # what the partner of a prompt is
    tier: Literal["core", "beyond"] | None = None  # what it counts for in a grade
    order: int = 0  # among all claims


@dataclass(frozen=True, slots=True)
class Tool:
    name: str = "pytest-circuits"
    version: str = pytest_circuits.__version__

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@cache
def versions() -> dict[str, str]:
    """The versions that evidence may depend on."""
    found = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


@dataclass(frozen=True, slots=True)
class Run:
    circuits: tuple[Circuit, ...]
    results: tuple[Result, ...]
    refused: tuple[str, ...] = ()  # specifications that cannot be used
    refusals: tuple[Refusal, ...] = ()  # and why
    problems: tuple[str, ...] = ()  # what keeps the run from being complete, one sentence each
    notes: tuple[str, ...] = ()  # what else a person should know
    recorded: tuple[str, ...] = ()  # baseline files that were written
    claims: dict[str, Meaning] = field(default_factory=dict)  # what each says, by name
    tool: Tool = Tool()
    versions: dict[str, str] = field(default_factory=versions)
    root: str = "."  # the folder that paths are relative to, from the top of its repository
    url: str = ""  # where the run can be looked at
    started: str = ""  # ISO 8601, in UTC
    seconds: float = 0.0

    @property
    def verdict(self) -> Verdict:
        """Pass only if every claim of every circuit ran and passed: a waiver makes no pass."""
        verdicts = {result.verdict for result in self.results}
        if Verdict.FAIL in verdicts:
            return Verdict.FAIL
        if not verdicts or self.problems or self.refused or self.not_asked_for:
            return Verdict.INCONCLUSIVE
        return Verdict.INCONCLUSIVE if Verdict.INCONCLUSIVE in verdicts else Verdict.PASS

    @property
    def not_asked_for(self) -> dict[str, list[str]]:
        """Claims of each circuit that has some without a result: another one of it was named."""
        asked = {(result.circuit, result.evidence.claim) for result in self.results}
        left = {c.name: [k for k in c.declared if (c.name, k) not in asked] for c in self.circuits}
        return {name: claims for name, claims in left.items() if claims}

    @property
    def waived(self) -> tuple[Result, ...]:
        """The claims that do not pass and may stand."""
        return tuple(result for result in self.results if result.waived)

    @property
    def green(self) -> bool:
        """Whether the exit status may be 0: baselines that are recorded and waivers may stand.

        So may claims that nobody asked for, where others were named.
        """
        return bool(self.results) and not (self.blocking or self.problems or self.refused)

    @property
    def blocking(self) -> tuple[Result, ...]:
        """The claims that keep the exit status from being 0."""
        return tuple(
            r
            for r in self.results
            if r.verdict is not Verdict.PASS and r.state is not State.RECORDED and not r.waived
        )

    def spec_of(self, result: Result) -> str:
        return next(c.spec for c in self.circuits if c.name == result.circuit)

    def in_repository(self, path: str) -> str:
        """A path from the top of the repository, as its host names the file."""
        return posixpath.normpath(posixpath.join(self.root, path))

    def meaning_of(self, claim: str) -> Meaning:
        """What a claim says; one that is unknown is shown by its name."""
        return self.claims.get(claim, Meaning(claim))

    def of_tier(self, tier: str) -> tuple[str, ...]:
        """Names of the claims that a part of the grade is made of."""
        found = [name for name, meaning in self.claims.items() if meaning.tier == tier]
        return tuple(sorted(found, key=lambda name: self.claims[name].order))
