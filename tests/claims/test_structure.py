"""`structure`, the part of `stable` that prunes the circuit anew: measured, and gated if asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.claims.bench import Pruner
from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.claims.laws import run_claim
from pytest_circuits.claims.stable.baseline_file import (
    read_baseline,
    record_baseline,
    write_baseline,
)
from pytest_circuits.claims.stable.comparison import overlap, structure_of
from pytest_circuits.errors import BaselineError
from pytest_circuits.model.protocol import Model
from pytest_circuits.model.reference import Reference
from pytest_circuits.spec.types import Spec
from tests.claims.conftest import MakeBench, MakeModel
from tests.known_models import QUOTE_PATH, Weights

ONE, OTHER = Nodes.of({"final_resid": [0, 1, 2]}), Nodes.of({"final_resid": [1, 2, 3]})
FAR = Nodes.of({"final_resid": [7, 8, 9]})


def test_the_overlap_is_intersection_over_union() -> None:
    assert overlap(ONE, OTHER) == 0.5
    assert overlap(ONE, ONE) == 1
    assert overlap(ONE, FAR) == 0
    assert overlap(Nodes.of({}), Nodes.of({})) == 0  # nothing was found, which is no agreement


@pytest.mark.parametrize(("after", "kept"), [([ONE, OTHER], True), ([FAR, FAR], False)])
def test_another_model_is_compared_with_other_seeds(after: list[Nodes], kept: bool) -> None:  # noqa: FBT001
    found = structure_of([ONE, OTHER], after, {"final_resid": 10})

    assert found.kept is kept
    assert found.within == found.least == 0.5
    assert found.chance == pytest.approx(0.9 / 5.1)


def pruner(found: dict[str, tuple[Nodes, ...]]) -> Pruner:
    """Searches that find this, by the digest of the model: real ones take long."""

    def prune(_spec: Spec, model: Model, _reference: Reference, seeds: int) -> tuple[Nodes, ...]:
        return found[model.digest][:seeds]

    return prune


def _limits(gate: str) -> str:
    return f"{{max_drop: 0.9, max_rise: 0.9, structure: {{seeds: 2, gate: {gate}}}}}"


@pytest.mark.parametrize("gate", ["true", "false"])
def test_what_is_pruned_elsewhere_fails_only_where_asked(
    bench_of: MakeBench,
    make_model: MakeModel,
    copier: Model,
    gate: str,
) -> None:
    updated = make_model(Weights(path=1.4, jitter=0.05))
    prune = pruner({copier.digest: (ONE, OTHER), updated.digest: (FAR, FAR)})

    bench = bench_of(QUOTE_PATH, updated, baseline=copier, stable=_limits(gate))
    evidence = run_claim(replace(bench, pruner=prune), "stable")

    assert evidence.verdict is (Verdict.FAIL if gate == "true" else Verdict.PASS)
    assert "structure: circuits pruned anew share 0.00 of their nodes" in evidence.reason
    assert evidence.measures["structure_within"] == 0.5


def test_a_record_holds_what_was_pruned(bench_of: MakeBench, copier: Model, tmp_path: Path) -> None:
    prune = pruner({copier.digest: (ONE, OTHER)})
    file = tmp_path / "quote_close.baseline.yaml"
    bench = replace(bench_of(QUOTE_PATH, stable=_limits("true")), pruner=prune)
    write_baseline(file, record_baseline(bench, []))

    read = read_baseline(file)

    assert read is not None
    assert read.observation.repruned == (ONE, OTHER)
    bench = bench_of(QUOTE_PATH, stable=_limits("true"), baseline=read)
    assert run_claim(replace(bench, pruner=prune), "stable").verdict is Verdict.PASS
    with pytest.raises(BaselineError, match="--circuits-update=changed"):
        bench_of(QUOTE_PATH, baseline=read)  # which does not ask for it
