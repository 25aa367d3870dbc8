"""`stable` lets harmless updates pass and stops those that moved the mechanism."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pytest_circuits.circuit.view import View
from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.claims.laws import run_claim
from pytest_circuits.claims.setup import make_bench
from pytest_circuits.claims.stable.baseline import Live, Recorded
from pytest_circuits.claims.stable.baseline_file import (
    read_baseline,
    record_baseline,
    write_baseline,
)
from pytest_circuits.claims.stable.observed import observed, sample_of
from pytest_circuits.model.open import load_model
from pytest_circuits.model.protocol import Model
from pytest_circuits.model.reference import measure
from pytest_circuits.model.reference_file import load_reference, save_reference
from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.spec.load import parse_spec
from tests.claims.conftest import QUICK, MakeBench, MakeModel
from tests.known_models import BRACKET_PATH, QUOTE_PATH, WEAK_PATH, Weights, merged, quote_spec
from tests.known_models.workshop import write_like

MOVED = Weights(path=0.01, weak=1.5)  # the same behavior, by the other path


@pytest.fixture(scope="module")
def recorded(copier: Model, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """What a baseline file says of the quote copier."""
    path = tmp_path_factory.mktemp("recorded") / "q.circuit.yaml"
    loaded = parse_spec(quote_spec(QUOTE_PATH, protocol=QUICK), path=path)
    return record_baseline(make_bench(loaded, copier), [])


@pytest.fixture(params=["model", "record"])
def released(request: pytest.FixtureRequest, copier: Model, recorded: Recorded) -> Recorded | Model:
    """What an update of the quote copier is compared with: itself, or its record."""
    return copier if request.param == "model" else recorded


def test_a_model_is_stable_against_itself(bench_of: MakeBench, released: Recorded | Model) -> None:
    evidence = run_claim(bench_of(QUOTE_PATH, baseline=released), "stable")

    assert evidence.verdict is Verdict.PASS
    assert evidence.rate is not None
    assert evidence.rate.estimate == 0
    assert evidence.measures["identity"] == pytest.approx(1)
    assert evidence.measures["lineage"] == pytest.approx(1)
    assert evidence.measures["attention_apart"] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("seed", range(20))
def test_an_unchanged_model_stays_green_whatever_the_seed(bench_of: MakeBench, seed: int) -> None:
    name = f"quote_{seed}"
    recorded = record_baseline(bench_of(QUOTE_PATH, name=name), [])

    bench = bench_of(QUOTE_PATH, baseline=recorded, name=name)

    assert run_claim(bench, "stable").verdict is Verdict.PASS


def test_a_harmless_update_is_stable(
    bench_of: MakeBench,
    make_model: MakeModel,
    released: Recorded | Model,
) -> None:
    updated = make_model(Weights(path=1.4, jitter=0.05))

    evidence = run_claim(bench_of(QUOTE_PATH, updated, baseline=released), "stable")

    assert evidence.verdict is Verdict.PASS


def test_a_mechanism_that_moved_is_not_stable_though_the_model_still_behaves(
    bench_of: MakeBench,
    make_model: MakeModel,
    released: Recorded | Model,
) -> None:
    bench = bench_of(QUOTE_PATH, make_model(MOVED), baseline=released)

    assert run_claim(bench, "behaves").verdict is Verdict.PASS
    assert run_claim(bench, "stable").verdict is Verdict.FAIL


def test_a_backup_that_grew_fails_the_transfer_though_the_circuit_is_as_it_was(
    bench_of: MakeBench,
    make_model: MakeModel,
    released: Recorded | Model,
) -> None:
    grown = make_model(Weights(weak=1.5))

    evidence = run_claim(bench_of(QUOTE_PATH, grown, baseline=released), "stable")

    assert evidence.verdict is Verdict.FAIL
    assert "transfer: the share of pairs that are told apart without it rises by" in evidence.reason
    assert evidence.measures["delta_to_baseline"] == 0


def test_work_that_moved_within_the_circuit_changes_the_order_of_effects(
    bench_of: MakeBench, make_model: MakeModel
) -> None:
    both = merged(QUOTE_PATH, WEAK_PATH)
    before, after = make_model(Weights(weak=0.7)), make_model(Weights(path=0.7, weak=1.5))

    evidence = run_claim(bench_of(both, after, baseline=before), "stable")

    assert evidence.verdict is Verdict.FAIL
    assert "effects: those of its nodes on the whole model are ranked as before" in evidence.reason
    assert "most moved: " in evidence.reason
    assert evidence.measures["identity"] == pytest.approx(1, abs=0.02)


def test_a_head_that_looks_elsewhere_loses_its_identity(
    bench_of: MakeBench, make_model: MakeModel, copier: Model
) -> None:
    evidence = run_claim(
        bench_of(QUOTE_PATH, make_model(Weights(sharp=1.0)), baseline=copier), "stable"
    )

    assert evidence.verdict is Verdict.FAIL
    assert "identity: attention of its heads moves by at most" in evidence.reason
    assert "head 0 of layer 0" in evidence.reason


@pytest.mark.parametrize(
    "weights",
    [Weights(), Weights(path=1.4, jitter=0.05), MOVED, Weights(weak=1.5), Weights(path=-1.5)],
    ids=str,
)
def test_a_record_and_the_model_it_was_made_from_give_the_same_verdict(
    bench_of: MakeBench, make_model: MakeModel, copier: Model, weights: Weights, recorded: Recorded
) -> None:
    candidate = make_model(weights)

    by_file, by_model = (
        run_claim(bench_of(QUOTE_PATH, candidate, baseline=baseline), "stable")
        for baseline in (recorded, copier)
    )

    assert by_file.verdict is by_model.verdict
    assert by_file.measures == by_model.measures


def test_a_circuit_without_a_head_can_be_compared_with_its_record(
    bench_of: MakeBench, tmp_path: Path
) -> None:
    headless = {"0.attn.act_in": [0, 1], "final_resid": [2]}
    file = tmp_path / "quote_close.baseline.yaml"
    write_baseline(file, record_baseline(bench_of(headless), []))

    evidence = run_claim(bench_of(headless, baseline=read_baseline(file)), "stable")

    assert evidence.measures["attention_apart"] == 0
    assert "attention" not in evidence.reason
    assert evidence.measures["identity"] == pytest.approx(1)


def test_a_path_that_turned_around_breaks_the_law_on_the_smallest_prompt(
    bench_of: MakeBench, make_model: MakeModel, copier: Model
) -> None:
    turned = make_model(Weights(path=-1.5))

    evidence = run_claim(bench_of(QUOTE_PATH, turned, baseline=copier), "stable")

    assert evidence.verdict is Verdict.FAIL
    assert evidence.law is not None
    assert evidence.law.counterexample is not None
    assert evidence.law.counterexample.prompt == 'x = "alpha'
    assert "in the baseline it prefers" in evidence.law.counterexample.violation


@pytest.mark.parametrize("member", [0, 1])
def test_either_prompt_of_a_pair_can_break_the_law_of_a_record(
    bench_of: MakeBench, recorded: Recorded, member: int
) -> None:
    alone = recorded.observation.alone.copy()
    alone[3, member] = -5.0  # there the released circuit was wrong, and only there
    before = replace(recorded, observation=replace(recorded.observation, alone=alone))
    bench = bench_of(QUOTE_PATH, baseline=before)
    pair = bench.sample.pairs[3]

    evidence = run_claim(bench, "stable")

    assert evidence.verdict is Verdict.FAIL
    assert evidence.law is not None
    assert evidence.law.counterexample is not None
    assert evidence.law.counterexample.prompt == (pair.first, pair.second)[member].text
    assert evidence.law.counterexample.margins["baseline's circuit"] == -5.0


def test_without_a_baseline_the_claim_fails_and_names_the_command(bench_of: MakeBench) -> None:
    evidence = run_claim(bench_of(QUOTE_PATH), "stable")

    assert evidence.verdict is Verdict.FAIL
    assert "pytest --circuits --circuits-update=new" in evidence.reason


def test_listed_edges_are_those_of_the_baselines_circuit_too(
    bench_of: MakeBench, make_model: MakeModel, copier: Model
) -> None:
    updated = make_model(Weights(path=1.4))
    listed = "edges: {0.attn.act_in -> 0.attn.v: [[1, 0]]}"
    bench = bench_of(QUOTE_PATH, updated, baseline=copier, extra=listed)
    assert isinstance(bench.baseline, Live)

    before, _ = (found.alone for found in observed(bench))

    expected = bench_of(QUOTE_PATH, copier, extra=listed)
    pairs = sample_of(bench).pairs
    assert np.array_equal(before, expected.runner.margins(pairs, expected.circuit))
    every = bench.baseline.runner.margins(pairs, View.circuit(bench.nodes))
    assert np.abs(before - every).max() > 1


def test_models_whose_nodes_carry_other_signals_are_not_comparable(
    bench_of: MakeBench, copier: SparseModel, tmp_path: Path
) -> None:
    with_noise = merged(QUOTE_PATH, {"0.mlp.post_act": range(12, 60)})
    shuffled = copier.shuffled(seed=5).module
    stranger = load_model(write_like(copier, shuffled, tmp_path / "stranger"))

    evidence = run_claim(bench_of(with_noise, baseline=stranger), "stable")

    assert evidence.verdict is Verdict.INCONCLUSIVE
    assert "not comparable: channels" in evidence.reason


def test_ablations_that_were_measured_on_another_text_are_not_comparable(
    bench_of: MakeBench, copier: Model, tmp_path: Path, released: Recorded | Model
) -> None:
    shutil.copytree(copier.path, tmp_path / "other")
    other = load_model(tmp_path / "other")
    half = load_reference(copier).tokens[::2]
    save_reference(other, measure(other, half))

    evidence = run_claim(bench_of(QUOTE_PATH, other, baseline=released), "stable")

    assert evidence.verdict is Verdict.INCONCLUSIVE
    assert "not comparable: what an ablation puts in place of a node" in evidence.reason


def test_rates_are_compared_with_those_of_the_baseline(
    bench_of: MakeBench, make_model: MakeModel, copier: Model
) -> None:
    broken = make_model(Weights(path=0.0, weak=0.0))

    evidence = run_claim(bench_of(QUOTE_PATH, broken, baseline=copier), "behaves")

    assert evidence.measures["delta_to_baseline"] == pytest.approx(-0.5, abs=0.1)


def test_recorded_rates_are_those_of_the_claims_that_passed(bench_of: MakeBench) -> None:
    bench = bench_of(BRACKET_PATH, behavior="bracket")
    evidence = [run_claim(bench, claim) for claim in ("behaves", "sufficient", "stable")]

    recorded = record_baseline(bench, evidence)

    assert {c: r.estimate for c, r in recorded.rates.items()} == {"behaves": 1, "sufficient": 1}
