"""The baseline file beside a specification: text that a person can review, bound by digests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pytest_circuits.circuit.nodes import Nodes, node_called
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.evidence import Evidence, Rate, Verdict
from pytest_circuits.claims.stable.baseline import AGAIN, RECORD, ModelFacts, Recorded, facts
from pytest_circuits.claims.stable.observation import FEW_PAIRS, Observation
from pytest_circuits.claims.stable.observed import observed_in, observed_prompts, texts_digest
from pytest_circuits.claims.statistics import Floats
from pytest_circuits.errors import BaselineError, SpecError, told
from pytest_circuits.spec.bounded_yaml import read_yaml
from pytest_circuits.spec.tree import Limits
from pytest_circuits.spec.yaml_text import Lines, block_mapping
from pytest_circuits.system.files import write_atomic

SUFFIX = ".baseline.yaml"
_LIMITS = Limits(size=2**26, values=20_000, scalar=2**26)
_HEADER = """\
# Accepted evidence of the circuit {circuit}. Written by
# `pytest --circuits --circuits-update`; review it like code and do not edit it.
# accepted: the rate of each claim. effects: nats that each node adds to the preference.
# digest: sha256 of the lines below it, by which an edit is noticed.
"""
_NAMED = re.compile(r"(\S+(?: at \S+| elsewhere)?) (.*)")  # a name, with its place, and numbers
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class _Model(_Part):
    digest: _Digest
    hook_points: dict[str, int]
    tokenizer_digest: _Digest


class _Rate(_Part):
    estimate: float
    lower: float
    upper: float
    threshold: float
    n: int
    exhaustive: bool


class _File(_Part):
    """Every key of a baseline file, in the order in which a person reads them."""

    digest: _Digest
    schema_version: Literal[4]
    circuit: str
    model: _Model
    spec_digest: _Digest
    accepted: dict[str, _Rate]
    effects: str
    alpha: float
    seed: int
    versions: dict[str, str]
    prompts_digest: _Digest
    reference_text: _Digest
    attention: str
    margins: str
    probes: str
    repruned: str = ""
    signals: str


def baseline_path(spec_path: Path, circuit: str) -> Path:
    """Where the baseline of a circuit lies: beside its specification."""
    return spec_path.with_name(f"{circuit}{SUFFIX}")


def record_baseline(bench: Bench, evidence: Iterable[Evidence]) -> Recorded:
    """What a baseline file is to hold; `evidence` gives the rates of the claims that passed."""
    prompts = observed_prompts(bench)
    return Recorded(
        circuit=bench.spec.circuit,
        spec_digest=bench.loaded.digest,
        model=facts(bench.model),
        reference_text=bench.runner.reference.text_digest,
        versions={name: version(name) for name in ("pytest-circuits", "torch")},
        seed=bench.seed,
        alpha=bench.spec.protocol.alpha,
        prompts_digest=texts_digest(prompts.rates),
        node_ids=tuple(bench.nodes.ids()),
        observation=observed_in(bench, bench.runner, bench.place, prompts),
        rates={
            e.claim: e.rate
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
        raise BaselineError("\n".join(told(tree.problems)))
    file = _checked(path, tree.value)
    ids, effects = _named_table(path, "effects", file.effects)
    signal_ids, signals = _named_table(path, "signals", file.signals)
    if ids != signal_ids or effects.shape[1:] != (1,):
        raise BaselineError(f"{path}: 'effects' and 'signals' are not about the same nodes")
    probe_ids, probed = _named_table(path, "probes", file.probes)
    margins = _table(path, "margins", file.margins.splitlines())
    if margins.shape[1:] != (6,):
        raise BaselineError(f"{path}: 'margins' has not six numbers a line")
    observation = Observation(
        whole=margins[:, :2],
        alone=margins[:, 2:4],
        without=margins[:, 4:],
        signals=signals,
        effects=effects[:, 0],
        attention=_attention(path, file.attention),
        probes=_nodes(path, "probes", probe_ids),
        probed=probed,
        repruned=tuple(
            _nodes(path, "repruned", line.split()[1:]) for line in file.repruned.splitlines()
        ),
    )
    _check_unedited(path, tree.lines, file.digest)
    return Recorded(
        circuit=file.circuit,
        spec_digest=file.spec_digest,
        model=ModelFacts(**file.model.model_dump()),
        reference_text=file.reference_text,
        versions=file.versions,
        seed=file.seed,
        alpha=file.alpha,
        prompts_digest=file.prompts_digest,
        node_ids=ids,
        observation=observation,
        rates={name: Rate(**rate.model_dump()) for name, rate in file.accepted.items()},
    )


def _checked(path: Path, value: object) -> _File:
    if isinstance(value, dict) and value.get("schema_version") in {1, 2, 3}:
        raise BaselineError(
            f"{path}: was recorded by an earlier version, which kept less evidence; check out the "
            f"model that it was recorded from, and `{RECORD}=changed` records it again"
        )
    try:
        return _File.model_validate(value)
    except ValidationError as error:
        raise BaselineError(
            f"{path}: not a baseline file of this version: "
            + "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        ) from error


def _check_unedited(path: Path, lines: Sequence[str], digest: str) -> None:
    """Raise BaselineError where a file does not say what was written.

    Who edits a file can make its digest anew: the gate measures the model as well, where it can.
    """
    if _digest(lines) != digest:
        raise BaselineError(
            f"{path}: was edited after it was recorded: its digest is not that of its lines; check "
            f"out the file that was reviewed, or, if the change is meant, {AGAIN} from the model"
        )


def _digest(lines: Sequence[str]) -> str:
    """sha256 of the lines below the one that holds it, without comments and empty lines."""
    content = [x for x in lines if x.strip() and not x.startswith(("#", "digest:"))]
    return sha256("\n".join(content).encode()).hexdigest()


def _named_table(path: Path, what: str, text: str) -> tuple[tuple[str, ...], Floats]:
    named = [_NAMED.fullmatch(line) for line in text.splitlines()]
    found = [(match[1], match[2]) for match in named if match]
    if len(found) < len(named):
        raise BaselineError(f"{path}: a line of {what!r} names nothing or holds no numbers")
    if not found:
        return (), np.empty((0, 0))
    rows = _table(path, what, [rest for _, rest in found])
    return tuple(name for name, _ in found), rows


def _attention(path: Path, text: str) -> Floats:
    """The lines of one head follow each other, one for each prompt: [heads, prompts, T]."""
    names, rows = _named_table(path, "attention", text)
    heads = len(dict.fromkeys(names))
    if not heads:
        return np.empty((0, 2 * FEW_PAIRS, 0))
    if names != tuple(np.repeat([*dict.fromkeys(names)], len(names) // heads)):
        raise BaselineError(f"{path}: 'attention' has not as many lines for each head")
    return rows.reshape(heads, -1, rows.shape[1])


def _nodes(path: Path, what: str, ids: Sequence[str]) -> Nodes:
    found = []
    for name in ids:
        node = node_called(name)
        if node is None:
            raise BaselineError(f"{path}: {what!r} names no channel: {name!r}")
        found.append(node)
    nodes = Nodes.gather(found)
    if nodes.ids() != list(ids):
        raise BaselineError(f"{path}: {what!r} names channels twice or in another order")
    return nodes


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
    found = recorded.observation
    rates = {
        name: _rounded({key: getattr(rate, key) for key in sorted(_Rate.model_fields)})
        for name, rate in sorted(recorded.rates.items())
    }
    heads = [f"head-{index}" for index in range(len(found.attention))]
    attention = [
        line
        for head, rows in zip(heads, found.attention, strict=True)
        for line in _named([head] * len(rows), rows, digits=3)
    ]
    searches = [" ".join([f"seed-{i}", *nodes.ids()]) for i, nodes in enumerate(found.repruned)]
    fields = {
        "schema_version": 4,
        "circuit": recorded.circuit,
        "model": {
            "digest": recorded.model.digest,
            "hook_points": dict(sorted(recorded.model.hook_points.items())),
            "tokenizer_digest": recorded.model.tokenizer_digest,
        },
        "spec_digest": recorded.spec_digest,
        "accepted": rates,
        "effects": Lines(_named(recorded.node_ids, found.effects[:, None], digits=4)),
        **_rounded({"alpha": recorded.alpha}),
        "seed": recorded.seed,
        "versions": dict(sorted(recorded.versions.items())),
        "prompts_digest": recorded.prompts_digest,
        "reference_text": recorded.reference_text,
        "attention": Lines(tuple(attention)),
        "margins": Lines(
            tuple(map(_numbers, np.hstack([found.whole, found.alone, found.without])))
        ),
        "probes": Lines(_named(found.probes.ids(), found.probed, digits=4)),
        **({"repruned": Lines(tuple(searches))} if searches else {}),
        "signals": Lines(_named(recorded.node_ids, found.signals, digits=4)),
    }
    lines = [*block_mapping(fields)]
    header = _HEADER.format(circuit=recorded.circuit).splitlines()
    written = [*header, *block_mapping({"digest": _digest(lines)}), *lines]
    return "".join(f"{line}\n" for line in written)


def _rounded(values: Mapping[str, object]) -> dict[str, object]:
    return {
        name: float(f"{value:.6g}") if isinstance(value, float) else value
        for name, value in values.items()
    }


def _named(names: Iterable[str], rows: Floats, *, digits: int) -> tuple[str, ...]:
    pairs = zip(names, rows, strict=True)
    return tuple(f"{name} {_numbers(row, digits=digits)}" for name, row in pairs)


def _numbers(row: Floats, *, digits: int = 6) -> str:
    return " ".join(f"{value:.{digits}g}" for value in row)
