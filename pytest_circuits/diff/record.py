"""Changes as JSON: numbers finite or null, keys sorted, no absolute paths."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from pytest_circuits.circuit.nodes import node_id
from pytest_circuits.diff.change import Change
from pytest_circuits.diff.measure import Measured, Placed, Side

SCHEMA_VERSION = 1

Json = dict[str, Any]


def dump(models: Json, changes: Sequence[tuple[Measured, Change]]) -> str:
    """Return the record as text; models: what was compared, by `base` and `candidate`."""
    record = {
        "schema_version": SCHEMA_VERSION,
        **models,
        "circuits": [_circuit(measured, change) for measured, change in changes],
    }
    return json.dumps(record, sort_keys=True, indent=2, allow_nan=False) + "\n"


def _circuit(measured: Measured, change: Change) -> Json:
    now = change.now
    return {
        "name": measured.loaded.spec.circuit,
        "digest": measured.loaded.digest,
        "change": change.kind.value,
        "reason": change.reason,
        "behaves": {"before": measured.behaves[0], "after": measured.behaves[1]},
        "before": _side(measured.before),
        "after": None if now is None else {**_side(now.side), **_seen(now)},
        "nodes": [] if now is None else list(_nodes(measured, now)),
    }


def _side(side: Side) -> Json:
    return {"alone": side.alone, "without": side.without, "separation": _number(side.separation)}


def _seen(now: Placed) -> Json:
    seen = now.seen
    return {
        "effects_change": _number(seen.moved.max()),
        "identity": _number(seen.identity),
        "identity_each": _number(seen.each),
        "preference": {"before": _number(seen.whole[0]), "after": _number(seen.whole[1])},
        "attention_apart": _number(seen.apart.max(initial=0)),
        "effects": _number(seen.effects),
        "lineage": _number(seen.lineage),
    }


def _nodes(measured: Measured, now: Placed) -> list[Json]:
    at = measured.match.there.values() if now is measured.found else measured.match.there
    return [
        {
            "node": name,
            "address": node_id(hook, channel),
            "signal": _number(now.seen.alike[i]),
            "effect_before": _number(measured.before.effects[i]),
            "effect_after": _number(now.side.effects[i]),
        }
        for i, (name, (hook, channel)) in enumerate(zip(measured.node_ids, at, strict=True))
    ]


def _number(value: float | None) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None
