"""The bundled circuits: each claim is put to the test, or the specification says why it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_circuits.claims.registry import CLAIMS, declared
from pytest_circuits.spec.load import LoadedSpec, load_spec
from pytest_circuits.spec.types import Claims

FOLDER = Path(__file__).parent.parent / "circuits"
SPECS = [load_spec(path) for path in sorted(FOLDER.glob("*.circuit.yaml"))]


@pytest.mark.parametrize("loaded", SPECS, ids=lambda loaded: loaded.spec.circuit)
def test_every_claim_is_declared_or_left_out_with_a_reason(loaded: LoadedSpec) -> None:
    spec = loaded.spec
    said = {name for name, _ in spec.undeclared.items()}

    assert {*spec.claims.model_fields_set, *said} == {*Claims.model_fields}
    assert spec.nodes or not any(CLAIMS[name].needs_nodes for name in declared(spec))


def test_a_reason_begins_with_what_a_line_has_room_for() -> None:
    heads = {
        reason.partition(":")[0] for loaded in SPECS for _, reason in loaded.spec.undeclared.items()
    }

    assert heads <= {"fails", "undecided", "no circuit", "not meant"}
