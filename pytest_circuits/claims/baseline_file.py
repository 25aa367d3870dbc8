"""The baseline file beside a specification: text that a person can review, bound by digests."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pytest_circuits.claims.baseline import (
    ModelFacts,
    Recorded,
    facts,
    recorded_pairs,
    texts_digest,
)
from pytest_circuits.claims.evidence import Evidence, Verdict
from pytest_circuits.errors import BaselineError, SpecError
from pytest_circuits.files import write_atomic
from pytest_circuits.spec.bounded_yaml import read_yaml
from pytest_circuits.spec.tree import Limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pytest_circuits.claims.bench import Bench
    from pytest_circuits.claims.statistics import Floats

SUFFIX = ".baseline.yaml"
_LIMITS = Limits(size=2**26, values=20_000, scalar=2**26)
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    digest: _Digest
    hook_points: dict[str, int]
    tokenizer_digest: _Digest


class _File(BaseModel):
    """Every key of a baseline file."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    schema_version: Literal[1]
    alpha: float
    circuit: str
    margins: str
    model: _Model
    prompts_digest: _Digest
    rates: dict[str, float]
    seed: int
    signals: str
    spec_digest: _Digest
    versions: dict[str, str]


def baseline_path(spec_path: Path, circuit: str) -> Path:
    """Where the baseline of a circuit lies: beside its specification."""
    return spec_path.with_name(f"{circuit}{SUFFIX}")


def record_baseline(bench: Bench, evidence: Iterable[Evidence]) -> Recorded:
    """What a baseline file is to hold; `evidence` gives the rates of the claims that passed."""
    pairs = recorded_pairs(bench)
    return Recorded(
        circuit=bench.spec.circuit,
        spec_digest=bench.loaded.digest,
        model=facts(bench.model),
        versions={name: version(name) for name in ("pytest-circuits", "torch")},
        seed=bench.seed,
        alpha=bench.spec.protocol.alpha,
        prompts_digest=texts_digest(pairs),
        margins=bench.runner.margins(pairs, bench.circuit),
        signals=bench.runner.signals(bench.signal_pairs, bench.nodes),
        node_ids=tuple(bench.nodes.ids()),
        rates={
            e.claim: e.rate.estimate
            for e in evidence
            if e.rate is not None and e.verdict is Verdict.PASS and e.claim != "stable"
        },
    )


def write_baseline(path: Path, recorded: Recorded) -> None:
    """Write a baseline file whole; the same evidence gives the same bytes."""
    write_atomic(path, _text(recorded).encode())


def read_baseline(path: Path) -> Recorded | None:
    """The baseline file at a path, or None where there is none; BaselineError if it is damaged."""
    if not path.exists():
        return None
    try:
        tree = read_yaml(path, limits=_LIMITS)
    except SpecError as error:
        raise BaselineError(str(error)) from error
    if tree.problems:
        raise BaselineError("\n".join(str(problem) for problem in tree.problems))
    try:
        file = _File.model_validate(tree.value)
    except ValidationError as error:
        raise BaselineError(
            f"{path}: not a baseline file of this version: "
            + "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        ) from error
    margins = _table(path, "margins", file.margins.splitlines())
    ids, rows = _named_rows(path, file.signals)
    return Recorded(
        circuit=file.circuit,
        spec_digest=file.spec_digest,
        model=ModelFacts(
            file.model.digest, file.model.tokenizer_digest, dict(file.model.hook_points)
        ),
        versions=file.versions,
        seed=file.seed,
        alpha=file.alpha,
        prompts_digest=file.prompts_digest,
        margins=margins,
        signals=_table(path, "signals", rows),
        node_ids=ids,
        rates=file.rates,
    )


def _named_rows(path: Path, text: str) -> tuple[tuple[str, ...], list[str]]:
    named = [line.partition(" ") for line in text.splitlines()]
    if not all(separator for _, separator, _ in named):
        raise BaselineError(f"{path}: a line of 'signals' names no node or holds no numbers")
    return tuple(name for name, _, _ in named), [rest for _, _, rest in named]


def _table(path: Path, what: str, lines: Sequence[str]) -> Floats:
    try:
        rows = [[float(x) for x in line.split()] for line in lines]
    except ValueError as error:
        raise BaselineError(f"{path}: {what!r} is not a table of numbers: {error}") from error
    if len({len(row) for row in rows}) > 1:
        raise BaselineError(f"{path}: {what!r} has rows of different lengths")
    table = np.array(rows, dtype=np.float64)
    if table.ndim != 2 or not np.isfinite(table).all():
        raise BaselineError(f"{path}: {what!r} is not a table of finite numbers")
    return table


def _text(recorded: Recorded) -> str:
    named = zip(recorded.node_ids, recorded.signals, strict=True)
    fields = {
        "alpha": f" {recorded.alpha:.6g}",
        "circuit": f" {json.dumps(recorded.circuit)}",
        "margins": _block(_numbers(row) for row in recorded.margins),
        "model": _mapping(
            {
                "digest": recorded.model.digest,
                "hook_points": dict(recorded.model.hook_points),
                "tokenizer_digest": recorded.model.tokenizer_digest,
            }
        ),
        "prompts_digest": f" {json.dumps(recorded.prompts_digest)}",
        "rates": _mapping({name: float(f"{rate:.6g}") for name, rate in recorded.rates.items()}),
        "schema_version": " 1",
        "seed": f" {recorded.seed}",
        "signals": _block(f"{name} {_numbers(row)}" for name, row in named),
        "spec_digest": f" {json.dumps(recorded.spec_digest)}",
        "versions": _mapping(recorded.versions),
    }
    header = (
        f"# Accepted evidence of the circuit {recorded.circuit}. Written by\n"
        "# `pytest --circuits --circuits-update`; review it like code and do not edit it.\n"
    )
    return header + "".join(f"{key}:{value}\n" for key, value in fields.items())


def _numbers(row: Floats) -> str:
    return " ".join(f"{value:.6g}" for value in row)


def _block(lines: Iterable[str]) -> str:
    return " |" + "".join(f"\n  {line}" for line in lines)


def _mapping(values: Mapping[str, object], indent: str = "\n  ") -> str:
    """A block mapping, one key a line; its scalars are JSON, which is YAML."""
    if not values:
        return " {}"
    lines = []
    for key, value in sorted(values.items()):
        if isinstance(value, dict):
            lines.append(f"{indent}{key}:{_mapping(value, indent + '  ')}")
        else:
            lines.append(f"{indent}{key}: {json.dumps(value)}")
    return "".join(lines)
