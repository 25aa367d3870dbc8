"""The evidence record: the one account of a run, of which every report can be made again.

Its fields are those of schema version 1. Numbers are finite, or null with the reason beside them;
keys are sorted; no path is absolute; nothing outside `run` depends on when, from where or how fast
it ran, but that `waived` of a claim becomes null after the last day of its waiver. Waived claims
keep their verdicts, and so does the run: its `verdict` is `pass` only where every claim passes.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from pytest_circuits.claims.evidence import Evidence, Verdict
from pytest_circuits.errors import RecordError
from pytest_circuits.report.grade import grade
from pytest_circuits.report.run import DELTA, Artifact, Circuit, Json, Result, Run
from pytest_circuits.report.writing import Target
from pytest_circuits.system.files import parse_json

SCHEMA_VERSION = 1
MOST_BYTES = 2**28  # of a record that is read
_ABOUT = ("problems", "notes", "url", "root", "started", "seconds")  # of a run, under `run`
_TOLD = ("claims", "tool", "versions", "refused", "refusals")  # the same, at the top
_MOST = 2**63
_SHOWN = 3  # of what is wrong with a record

T = TypeVar("T")
_CIRCUIT, _EVIDENCE = TypeAdapter(Circuit), TypeAdapter(Evidence)
_RUN = TypeAdapter(Run)


def circuit_to_json(circuit: Circuit) -> Json:
    return _fields(_CIRCUIT, circuit)


def circuit_from_json(fields: Json) -> Circuit:
    return _CIRCUIT.validate_python(fields)


def evidence_to_json(evidence: Evidence) -> Json:
    """The fields of one claim, every number finite or null."""
    lost: list[str] = []
    fields: Json = _finite(_fields(_EVIDENCE, evidence), "", lost)
    if fields["measures"].get(DELTA, 0) is None:
        del fields["measures"][DELTA]  # there is no baseline to differ from
    if rate := fields["rate"]:
        del rate["groups"]  # they are measures
        for name in ("group", "distinct"):  # there is one group, and no prompt twice
            if not rate[name]:
                del rate[name]
    lost += [f"measures.{name}" for name, value in fields["measures"].items() if value is None]
    missing = sorted({name for name in lost if name not in evidence.reason})
    if missing:
        fields["reason"] = f"{evidence.reason}; not a finite number: {', '.join(missing)}"
    return fields


def evidence_from_json(fields: Json) -> Evidence:
    """The evidence that `evidence_to_json` was given; what was not finite is null, or NaN."""
    return _EVIDENCE.validate_python(fields)


def make(run: Run, _: Target) -> bytes:
    return dump(run_to_json(run)).encode()


def run_to_json(run: Run) -> Json:
    fields = _fields(_RUN, run)
    about = {name: fields[name] for name in _ABOUT}
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": run.verdict.value,
        **{name: fields[name] for name in _TOLD},
        "device": ", ".join(sorted({circuit.device for circuit in run.circuits})) or None,
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
            "baselines_recorded": list(run.recorded),
            "places_by_claim": {r["nodeid"]: r["place"] for r in fields["results"]},
            "seconds_by_claim": {r["nodeid"]: r["seconds"] for r in fields["results"]},
        },
    }


def run_from_json(content: bytes, *, source: str) -> Run:
    """The run that a record tells of; RecordError, which names the source, where it is none.

    It has every field that would be written today, and each says what would be written, so that
    what is derived from the evidence (verdict, grades) cannot say anything else than the evidence.
    """
    given = parse_json(content, source=source, error=RecordError)
    again = "run the gate again to have one"
    if given.get("schema_version") != SCHEMA_VERSION:
        raise RecordError(f"{source}: no evidence record of version {SCHEMA_VERSION}; {again}")
    try:
        run = _RUN.validate_json(json.dumps(_run_fields(given)), strict=True)
        fresh = json.loads(dump(run_to_json(run)))
    except ValidationError as error:
        wrong = [
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:_SHOWN]
        ]
        raise RecordError(f"{source}: not a whole record: {'; '.join(wrong)}; {again}") from None
    except KeyError as error:
        text = f"{source}: without the field {error}, as an older version wrote it; {again}"
        raise RecordError(text) from None
    except (TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise RecordError(f"{source}: not a whole record: {error}; {again}") from None
    if place := _difference(fresh, given):
        raise RecordError(
            f"{source}: {place}, so that it was changed, or written by another version; {again}"
        )
    return run


def dump(record: Json) -> str:
    """The record as text: sorted, indented, ASCII, and without NaN."""
    return json.dumps(record, sort_keys=True, indent=2, allow_nan=False) + "\n"


def recorded(evidence: Evidence) -> Evidence:
    """The evidence of a comparison whose baseline this run replaces: it decides nothing."""
    before = f"; against the one that it replaces: {evidence.reason}" if evidence.rate else ""
    reason = f"its baseline was recorded by this run, so there is nothing to compare yet{before}"
    why = "its baseline was recorded by this run"
    return replace(evidence, verdict=Verdict.INCONCLUSIVE, reason=reason, why=why)


def _fields(adapter: TypeAdapter[T], value: T) -> Json:
    fields: Json = adapter.dump_python(value, mode="json")
    return fields


def _circuit(circuit: Circuit, run: Run) -> Json:
    fields = _finite(circuit_to_json(circuit), "", [])
    if circuit.baseline:
        fields["baseline"]["is_candidate"] = circuit.is_its_baseline
    claims = [_claim(result) for result in run.results if result.circuit == circuit.name]
    return {**fields, "grade": asdict(grade(circuit, run)), "claims": claims}


def _claim(result: Result) -> Json:
    waiver = result.waived
    return {
        **evidence_to_json(result.evidence),
        "waived": None if waiver is None else {"until": waiver.until, "reason": waiver.reason},
        "nodeid": result.nodeid,
        "state": result.state.value,
    }


def _run_fields(record: Json) -> Json:
    """A record as the fields of `Run`; a claim has those of its result and of its evidence."""
    about, circuits = record["run"], record["circuits"]
    results = [
        {
            **claim,
            "circuit": circuit["name"],
            "evidence": claim,
            "seconds": about["seconds_by_claim"][claim["nodeid"]],
            "place": about["places_by_claim"][claim["nodeid"]],
            "waived": claim["waived"] and circuit["waivers"][claim["claim"]],
        }
        for circuit in circuits
        for claim in circuit["claims"]
    ]
    return {
        **{name: about[name] for name in _ABOUT},
        **{name: record[name] for name in _TOLD},
        "circuits": circuits,
        "results": results,
        "recorded": about["baselines_recorded"],
    }


def _difference(fresh: object, given: object, path: str = "") -> str:
    """The first place where a record is not what it would be if it was written now, in words."""
    pairs: list[tuple[str, object, object]] = []
    if isinstance(fresh, dict) and isinstance(given, dict):
        for name in fresh:
            if name not in given:
                return f"without the field {path}{name}"
            pairs.append((f"{path}{name}", fresh[name], given[name]))
    elif isinstance(fresh, list) and isinstance(given, list) and len(fresh) == len(given):
        pairs = [(f"{path}{n}", a, b) for n, (a, b) in enumerate(zip(fresh, given, strict=True))]
    elif isinstance(fresh, int) and abs(fresh) > _MOST:
        return f"its field {path.rstrip('.')} is no number that a run has"
    elif fresh != given:
        return f"its field {path.rstrip('.')} does not follow from the rest"
    found = (_difference(a, b, f"{name}.") for name, a, b in pairs)
    return next(filter(None, found), "")


def _artifact(artifacts: list[Artifact], *, none: str) -> Json:
    different = list(dict.fromkeys(artifacts))
    if len(different) == 1:
        return {"path": different[0].path, "digest": different[0].digest}
    if not different:
        return {"path": None, "digest": None, "reason": none}
    listed = ", ".join(f"{artifact.path} ({artifact.digest})" for artifact in different)
    return {"path": None, "digest": None, "reason": f"the specs name several: {listed}"}


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
