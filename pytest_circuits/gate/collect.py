"""From specifications to pytest's tree: file, circuit, one item per claim."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_circuits.claims.evidence import Evidence, Verdict
from pytest_circuits.claims.laws import LawBroken, finish, given_test
from pytest_circuits.claims.selfcheck import SELFCHECK, run_selfcheck
from pytest_circuits.errors import CircuitsError, SpecError
from pytest_circuits.gate.loading import Benches, Prepared
from pytest_circuits.gate.provenance import glossary
from pytest_circuits.report.failure import failure_text
from pytest_circuits.report.record import evidence_to_json
from pytest_circuits.report.safe_text import clean, clean_block
from pytest_circuits.report.words import compared_with
from pytest_circuits.spec.problems import Problem

COMPARES = "stable"  # the claim that a baseline is for


class ClaimFailed(AssertionError):  # noqa: N818  (a verdict, not an error)
    """A claim whose verdict is not `pass`."""


class CircuitFile(pytest.File):
    benches: Benches
    refusal: tuple[tuple[int, int, str], ...] = ()  # line, column and text of what is wrong

    @classmethod
    def of(cls, benches: Benches, path: Path, parent: pytest.Collector) -> CircuitFile:
        file: CircuitFile = cls.from_parent(parent, path=path)
        file.benches = benches
        return file

    def collect(self) -> Iterator[Circuit]:
        """Load the specification and all that its claims need, or say what is wrong."""
        try:
            prepared = self.benches.prepare(self.path)
        except CircuitsError as error:
            self.refusal = _refusal(error)
            raise self.CollectError(clean_block(str(error))) from None
        circuit = Circuit.from_parent(self, name=prepared.circuit.name)
        circuit.prepared = prepared
        yield circuit


class Circuit(pytest.Collector):
    prepared: Prepared

    def collect(self) -> Iterator[ClaimItem]:
        for claim in self.prepared.circuit.declared:
            with self.prepared.at_work():
                test = given_test(self.prepared.bench, claim, f"{self.nodeid}::{claim}")
            item = ClaimItem.from_parent(self, name=claim, callobj=test)
            item.prepared = self.prepared
            yield item
        if self.prepared.selfcheck:
            item = ClaimItem.from_parent(self, name=SELFCHECK, callobj=_decided_below)
            item.prepared = self.prepared
            yield item


class ClaimItem(pytest.Function):
    """One claim about one circuit; passes when its law and its rate hold."""

    prepared: Prepared
    evidence: Evidence | None = None

    def runtest(self) -> None:
        """Search for a counterexample, then decide; ClaimFailed unless the verdict is `pass`."""
        self.evidence = None
        with self.prepared.at_work():
            evidence = self._decided()
            self.prepared.refuse_changed()
        self.evidence = evidence
        self.user_properties += _properties(self.evidence)
        # Where the run writes what this claim compares with, it decides nothing.
        is_recording = self.name == COMPARES and self.prepared.will_record
        if self.evidence.verdict is not Verdict.PASS and not is_recording:
            raise ClaimFailed(self.evidence.reason)

    def _decided(self) -> Evidence:
        bench, broken = self.prepared.bench, None
        try:
            super().runtest()
        except LawBroken as error:
            broken = error.counterexample
        if self.name == SELFCHECK:
            return run_selfcheck(bench, seeds=self.prepared.selfcheck)
        return finish(bench, self.name, broken)

    def repr_failure(
        self,
        excinfo: pytest.ExceptionInfo[BaseException],
        *args: Any,  # noqa: ANN401
        **kwargs: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401  (pytest's own signature)
        """Return our own text for what a user can mend, pytest's for anything else."""
        if isinstance(excinfo.value, ClaimFailed) and self.evidence is not None:
            return failure_text(
                self.evidence,
                glossary()[self.name],
                self.prepared.place_of(self.name),
                circuit=self.prepared.circuit.name,
                baseline=compared_with(self.prepared.circuit) if self.name == COMPARES else "",
            )
        if isinstance(excinfo.value, CircuitsError):
            return clean_block(str(excinfo.value))
        return super().repr_failure(excinfo, *args, **kwargs)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where the claim stands; the line is counted from 0, as pytest does."""
        line = self.prepared.place_of(self.name).line - 1
        return self.path, line, f"{self.prepared.circuit.name}::{self.name}"


def _refusal(error: CircuitsError) -> tuple[tuple[int, int, str], ...]:
    """Line, column and text of every problem; what has no place stands at the top of the file."""
    problems = error.problems if isinstance(error, SpecError) else (str(error),)
    return tuple(
        (problem.line, problem.col, clean("; ".join(filter(None, (problem.text, problem.hint)))))
        if isinstance(problem, Problem)
        else (1, 1, clean(str(problem)))
        for problem in problems
    )


def _decided_below() -> None:
    """A selfcheck has no search of its own."""


def _properties(evidence: Evidence) -> list[tuple[str, object]]:
    """JUnit properties: plain scalars, because anything else kills an xdist session."""
    found: dict[str, object] = {"claim": evidence.claim, "verdict": evidence.verdict.value}
    fields = evidence_to_json(evidence)["rate"] or {}
    found |= {name: fields.get(name) for name in ("estimate", "lower", "upper", "threshold", "n")}
    return [(f"circuits.{name}", value) for name, value in found.items() if value is not None]
