"""The evidence record: the one account of a run that every report is made from.

Its fields are those of schema version 1. Numbers are finite, or null with the reason beside them;
keys are sorted; no path is absolute; nothing outside `run` depends on when or how fast it ran, but
that `waived` of a claim becomes null after the last day of its waiver. Waived claims keep their
verdicts, and so does the run: its `verdict` is `pass` only where every claim passes.
"""

from __future__ import annotations

import json
import math
import platform
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pytest_circuits
from pytest_circuits.claims.evidence import Cause, Counterexample, Evidence, Law, Rate, Verdict
from pytest_circuits.report.grade import grade

SCHEMA_VERSION = 1
DELTA = "delta_to_baseline"  # the measure that differs from the baseline's rate
DISTRIBUTIONS = ("hypothesis", "numpy", "pytest", "scipy", "tokenizers", "torch")

Json = dict[str, Any]


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

    path: str
    digest: str


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
    sha256: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """The nodes of a circuit, in forward order, and the edges between them."""

    nodes: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Waiver:
    """For how long a claim is accepted although it does not pass, and why."""

    until: str  # the last day, in UTC: 2026-12-31
    reason: str
    place: str  # where it stands: file, line and column


@dataclass(frozen=True, slots=True)
class Matched:
    """How a circuit was found again, where its nodes have other numbers."""

    file: str | None  # the specification with the new numbers; None: every node is where it was
    moved: int  # nodes
    mean: float  # correlation with the nodes that they were, and the least one
    least: float


@dataclass(frozen=True, slots=True)
class Circuit:
    """What was put to the test: a circuit of a specification, in a model, against a baseline."""

    name: str
    spec: str  # relative to the root folder
    digest: str
    declared: tuple[str, ...]  # every claim that the specification makes, in order
    nodes: int
    edges: int
    reference_digest: str  # of the activations that ablation puts in place of a node
    model: Artifact
    baseline: Baseline | None  # None: there is none
    device: str
    files: tuple[File, ...] = ()  # all that its evidence depends on
    drawing: Drawing | None = None  # None: there is nothing to draw, or too much
    left_out: dict[str, str] = field(default_factory=dict)  # claims not declared, with the reason
    waivers: dict[str, Waiver] = field(default_factory=dict)  # by claim
    matched: Matched | None = None  # None: the nodes are those that the specification names

    @property
    def is_its_baseline(self) -> bool:
        """Whether the model is compared with itself, so that nothing can differ."""
        return self.baseline is not None and self.baseline.model_digest == self.model.digest


@dataclass(frozen=True, slots=True)
class Place:
    """Where a claim stands, and how it is run again."""

    path: str = ""  # of the specification, as the reader can open it
    line: int = 1
    column: int = 1
    command: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a specification cannot be used: one problem, and where it stands."""

    spec: str  # relative to the root folder
    line: int
    column: int
    text: str


@dataclass(frozen=True, slots=True)
class Result:
    """One claim of one circuit, and what came of it."""

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
        """Say whether it is told by itself; of all others one sentence of the run says how many."""
        return self.state not in {State.DESELECTED, State.NOT_RUN}


@dataclass(frozen=True, slots=True)
class Run:
    """A whole run of the gate."""

    circuits: tuple[Circuit, ...]
    results: tuple[Result, ...]
    refused: tuple[str, ...] = ()  # specifications that cannot be used
    refusals: tuple[Refusal, ...] = ()  # and why
    problems: tuple[str, ...] = ()  # what keeps the run from being complete, one sentence each
    notes: tuple[str, ...] = ()  # what else a person should know
    recorded: tuple[str, ...] = ()  # baseline files that were written

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
        """Say whether the exit status may be 0: baselines that are recorded and waivers may stand.

        So may claims that nobody asked for, where others were named.
        """
        return bool(self.results) and not (self.blocking or self.problems or self.refused)

    @property
    def blocking(self) -> tuple[Result, ...]:
        """The claims that keep the exit status from being 0."""
        return tuple(
            result
            for result in self.results
            if not (
                result.verdict is Verdict.PASS or result.state is State.RECORDED or result.waived
            )
        )

    def spec_of(self, result: Result) -> str:
        """The specification that a result is about, relative to the root folder."""
        return next(c.spec for c in self.circuits if c.name == result.circuit)


def circuit_from_json(fields: Json) -> Circuit:
    """Return the circuit that `asdict` was given, after it crossed processes."""
    baseline, drawing, matched = (fields[name] for name in ("baseline", "drawing", "matched"))
    return Circuit(
        **{
            **fields,
            "declared": tuple(fields["declared"]),
            "model": Artifact(**fields["model"]),
            "waivers": {name: Waiver(**waiver) for name, waiver in fields["waivers"].items()},
            "baseline": None if baseline is None else Baseline(**baseline),
            "matched": None if matched is None else Matched(**matched),
            "files": tuple(File(**file) for file in fields["files"]),
            "drawing": None
            if drawing is None
            else Drawing(tuple(drawing["nodes"]), tuple(map(tuple, drawing["edges"]))),
        }
    )


def evidence_to_json(evidence: Evidence) -> Json:
    """Return the fields of one claim, every number finite or null."""
    lost: list[str] = []
    fields = _finite(asdict(evidence), "", lost)
    if fields["measures"].get(DELTA, 0) is None:
        del fields["measures"][DELTA]  # there is no baseline to differ from
    lost += [f"measures.{name}" for name, value in fields["measures"].items() if value is None]
    missing = sorted({name for name in lost if name not in evidence.reason})
    if missing:
        fields["reason"] = f"{evidence.reason}; not a finite number: {', '.join(missing)}"
    return {**fields, "verdict": evidence.verdict.value}


def evidence_from_json(fields: Json) -> Evidence:
    """Return the evidence that `evidence_to_json` was given, with null for what was not finite."""
    rate, law = fields["rate"], fields["law"]
    return Evidence(
        claim=fields["claim"],
        verdict=Verdict(fields["verdict"]),
        reason=fields["reason"],
        rate=None if rate is None else Rate(**rate),
        law=None if law is None else Law(law["searched"], _counterexample(law["counterexample"])),
        measures=fields["measures"],
    )


def versions() -> dict[str, str]:
    """Return the versions that the evidence may depend on."""
    found = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def tool() -> dict[str, str]:
    """Return what made the record."""
    return {"name": "pytest-circuits", "version": pytest_circuits.__version__}


def run_to_json(run: Run, *, about: Json) -> Json:
    """Return the whole record; `about` becomes the field `run`, the only one that holds times."""
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": run.verdict.value,
        "tool": tool(),
        "versions": versions(),
        "device": _only({circuit.device for circuit in run.circuits}),
        "model": _artifact(
            [circuit.model for circuit in run.circuits], none="no circuit was loaded"
        ),
        "baseline": _artifact(
            [
                Artifact(circuit.baseline.path, circuit.baseline.model_digest)
                for circuit in run.circuits
                if circuit.baseline and not circuit.baseline.recorded
            ],
            none="the baseline files beside the specs",
        ),
        "circuits": [_circuit(circuit, run) for circuit in run.circuits],
        "run": {
            **about,
            "problems": list(run.problems),
            "baselines_recorded": list(run.recorded),
            "seconds_by_claim": {result.nodeid: result.seconds for result in run.results},
        },
    }


def dump(record: Json) -> str:
    """Return the record as text: sorted, indented, ASCII, and without NaN."""
    return json.dumps(record, sort_keys=True, indent=2, allow_nan=False) + "\n"


def recorded(evidence: Evidence) -> Evidence:
    """Return the evidence of a comparison whose baseline this run replaces: it decides nothing."""
    before = f"; against the one that it replaces: {evidence.reason}" if evidence.rate else ""
    reason = f"its baseline was recorded by this run, so there is nothing to compare yet{before}"
    return replace(evidence, verdict=Verdict.INCONCLUSIVE, reason=reason)


def _circuit(circuit: Circuit, run: Run) -> Json:
    results = [result for result in run.results if result.circuit == circuit.name]
    return {
        "name": circuit.name,
        "spec": circuit.spec,
        "digest": circuit.digest,
        "nodes": circuit.nodes,
        "edges": circuit.edges,
        "grade": grade(circuit, results).to_json(),
        "reference_digest": circuit.reference_digest,
        "baseline": _baseline(circuit),
        "matched": None if circuit.matched is None else asdict(circuit.matched),
        "claims": [
            {**evidence_to_json(result.evidence), "waived": _waived(result)} for result in results
        ],
    }


def _baseline(circuit: Circuit) -> Json | None:
    if circuit.baseline is None:
        return None
    return {**asdict(circuit.baseline), "is_candidate": circuit.is_its_baseline}


def _waived(result: Result) -> Json | None:
    waiver = result.waived
    return None if waiver is None else {"until": waiver.until, "reason": waiver.reason}


def _artifact(artifacts: list[Artifact], *, none: str) -> Json:
    different = list(dict.fromkeys(artifacts))
    if len(different) == 1:
        return asdict(different[0])
    if not different:
        return {"path": None, "digest": None, "reason": none}
    listed = ", ".join(f"{artifact.path} ({artifact.digest})" for artifact in different)
    return {"path": None, "digest": None, "reason": f"the specs name several: {listed}"}


def _only(values: set[str]) -> str | None:
    return ", ".join(sorted(values)) or None


def _counterexample(fields: Json | None) -> Counterexample | None:
    if fields is None:
        return None
    causes = tuple(Cause(**cause) for cause in fields["causes"])
    return Counterexample(**{**fields, "tokens": tuple(fields["tokens"]), "causes": causes})


def _finite(value: Any, name: str, lost: list[str]) -> Any:  # noqa: ANN401  (any JSON value)
    if isinstance(value, dict):
        return {key: _finite(item, f"{name}.{key}".strip("."), lost) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item, name, lost) for item in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if math.isfinite(value):
        return float(value)
    lost.append(name)
    return None
