"""A gate that hangs on its seed, or that random nodes pass, is found out by its selfcheck."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pytest_circuits.circuit.nodes import all_nodes
from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.claims.laws import run_claim
from pytest_circuits.claims.selfcheck import run_selfcheck, shuffled
from pytest_circuits.model.open import load_model
from pytest_circuits.model.protocol import Model
from tests.claims.conftest import MakeBench
from tests.claims.test_blind import bench_of as audit_of
from tests.known_models import QUOTE_PATH, WEAK_PATH
from tests.known_models.reader import write_name_reader

QUICK = "{pairs: 300, search: 10, controls: 39}"
ENOUGH = "{pairs: 1000, search: 10, controls: 39}"  # see `tests.known_models.workshop`


def test_the_true_circuit_is_green_and_shuffled_ones_are_red(bench_of: MakeBench) -> None:
    evidence = run_selfcheck(bench_of(QUOTE_PATH, protocol=ENOUGH), seeds=2)

    assert evidence.verdict is Verdict.PASS, evidence.reason
    assert evidence.measures == {"itself_green": 2, "seeds": 2, "shuffled_red": 2}


def test_a_circuit_that_does_not_hold_is_not_green_against_itself(bench_of: MakeBench) -> None:
    evidence = run_selfcheck(bench_of(WEAK_PATH, protocol=QUICK), seeds=1)

    assert evidence.verdict is Verdict.FAIL
    assert "not green under 1 of 1 seeds (seed 1, sufficient: " in evidence.reason
    assert "shuffled" not in evidence.reason


def test_claims_that_look_at_no_node_cannot_tell_a_circuit_from_random_nodes(
    bench_of: MakeBench,
) -> None:
    evidence = run_selfcheck(bench_of(QUOTE_PATH, claims=("behaves",), protocol=QUICK), seeds=2)

    assert evidence.verdict is Verdict.FAIL
    assert "passes every claim about its nodes under 2 of 2 seeds (1, 2)" in evidence.reason


def test_a_verdict_that_hangs_on_the_seed_is_found_out(tmp_path: Path) -> None:
    """One change of name in three moves the preference by 12 nats: hardly more than is asked."""
    model = load_model(write_name_reader(tmp_path / "model", one=1.5, other=0.0))
    bench = audit_of(model, "depends_on: {slots: [name], rate: 0.27}", margin=12)

    verdicts = {
        run_claim(replace(bench, selfcheck=number, changed={}), "depends_on").verdict
        for number in range(1, 7)
    }

    assert verdicts == {Verdict.PASS, Verdict.INCONCLUSIVE}
    evidence = run_selfcheck(bench, seeds=6)
    assert evidence.verdict is Verdict.FAIL
    assert "is not green under" in evidence.reason


def test_a_circuit_of_all_nodes_has_no_other_to_be_shuffled_into(
    bench_of: MakeBench, copier: Model
) -> None:
    bench = bench_of(dict(all_nodes(copier).channels))

    assert shuffled(bench).nodes == bench.nodes


def test_the_seed_is_that_of_the_circuit_unless_it_is_checked(bench_of: MakeBench) -> None:
    bench = bench_of(QUOTE_PATH)
    others = [replace(bench, selfcheck=number) for number in range(1, 4)]

    assert bench.seed == bench.loaded.seed
    assert len({bench.seed, *(other.seed for other in others)}) == 4
    assert len({other.sample.pairs for other in (bench, *others)}) == 4
    assert shuffled(bench).nodes not in {bench.nodes, *bench.controls}
    assert shuffled(bench).nodes.shape == bench.nodes.shape
