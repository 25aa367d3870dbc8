"""What one run of the gate knows: what was asked for, what was reported, what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from pytest_circuits.discover import Found
from pytest_circuits.gate.loading import Benches
from pytest_circuits.gate.names import Names
from pytest_circuits.gate.settings import Settings, only_lists
from pytest_circuits.report.run import Circuit, Place, Refusal, Run


@dataclass(frozen=True, slots=True)
class Expected:
    nodeid: str
    circuit: str
    claim: str
    place: Place


@dataclass(slots=True)
class Outcome:
    """What the reports said about one claim."""

    evidence: list[str] = field(default_factory=list)  # JSON texts
    failed: str | None = None  # the phase of an error outside the claim itself
    skipped: str | None = None  # the reason
    seconds: float = 0.0


@dataclass(slots=True)
class Gate:
    config: pytest.Config
    settings: Settings
    started: float  # seconds since 1970; a waiver ends by the UTC date of the run
    found: Found = field(default_factory=Found)  # on disk, below what was asked for
    benches: Benches = field(init=False, repr=False)  # there is one once the session has started
    circuits: dict[str, Circuit] = field(default_factory=dict)  # by name
    expected: dict[str, Expected] = field(default_factory=dict)  # by node id
    deselected: set[str] = field(default_factory=set)  # node ids
    refused: dict[str, None] = field(default_factory=dict)  # specifications with errors
    refusals: list[Refusal] = field(default_factory=list)  # which errors
    changed: set[str] = field(default_factory=set)  # circuits that workers read differently
    outcomes: dict[str, Outcome] = field(default_factory=dict)  # by node id
    run: Run | None = None
    is_telling: bool = False  # which claim is at work stands on the terminal
    written: dict[str, str] = field(default_factory=dict)  # sha256 of what was written, by output

    @property
    def names(self) -> Names:
        return Names(root=self.config.rootpath, folder=self.config.invocation_params.dir)

    @property
    def is_worker(self) -> bool:
        """Of xdist: it runs claims and decides nothing."""
        return hasattr(self.config, "workerinput")

    @property
    def only_lists(self) -> bool:
        return only_lists(self.config)
