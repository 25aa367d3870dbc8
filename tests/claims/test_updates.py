"""`stable` and updates: what computes the same passes, and what joins from elsewhere does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pytest_circuits.circuit.view import WHOLE
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.claims.laws import run_claim
from pytest_circuits.claims.stable.baseline import Live
from pytest_circuits.claims.stable.baseline_file import record_baseline
from pytest_circuits.model.protocol import Model
from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.model.sparse.directory import load_sparse_model
from tests.claims.conftest import MakeBench, MakeModel
from tests.known_models import QUOTE_PATH, Weights
from tests.known_models.updates import IN_PLACE, JOINED, RENUMBERED, Update, updated
from tests.known_models.workshop import write_like

MakeUpdate = Callable[[Update], SparseModel]


@pytest.fixture
def update(copier: SparseModel, tmp_path: Path) -> MakeUpdate:
    """Give the quote copier after an update."""

    def make(change: Update) -> SparseModel:
        folder = write_like(copier, updated(copier, change), tmp_path / "updated")
        return load_sparse_model(folder)

    return make


def _preferences(bench: Bench) -> tuple[np.ndarray, np.ndarray]:
    assert isinstance(bench.baseline, Live)
    pairs = bench.sample.pairs[:20]
    return bench.baseline.runner.margins(pairs, WHOLE), bench.runner.margins(pairs, WHOLE)


@pytest.mark.parametrize("ablation", ["mean", "zero"])
@pytest.mark.parametrize("name", IN_PLACE)
def test_signs_and_gains_that_are_undone_change_nothing(
    bench_of: MakeBench, update: MakeUpdate, copier: SparseModel, name: str, ablation: str
) -> None:
    bench = bench_of(QUOTE_PATH, update(IN_PLACE[name]), baseline=copier, ablation=ablation)

    evidence = run_claim(bench, "stable")

    before, after = _preferences(bench)
    assert np.array_equal(before, after)
    assert bench.model.digest != copier.digest
    assert evidence.verdict is Verdict.PASS
    assert evidence.measures["identity"] == pytest.approx(1)
    assert evidence.measures["effects_change"] == 0


@pytest.mark.parametrize(
    ("name", "verdict"),
    [("heads in another order", Verdict.FAIL), ("neurons in another order", Verdict.PASS)],
)
def test_what_was_renumbered_passes_where_no_node_of_the_circuit_was(
    bench_of: MakeBench, update: MakeUpdate, copier: SparseModel, name: str, verdict: Verdict
) -> None:
    bench = bench_of(QUOTE_PATH, update(RENUMBERED[name]), baseline=copier)

    evidence = run_claim(bench, "stable")

    before, after = _preferences(bench)
    np.testing.assert_allclose(before, after, atol=1e-4)
    assert evidence.verdict is verdict


@pytest.mark.parametrize("name", JOINED)
@pytest.mark.parametrize("against", ["model", "record"])
def test_a_path_that_joins_at_the_last_channel_shows_in_the_sizes_of_effects(
    bench_of: MakeBench, update: MakeUpdate, copier: SparseModel, name: str, against: str
) -> None:
    baseline = copier if against == "model" else record_baseline(bench_of(QUOTE_PATH), [])

    evidence = run_claim(bench_of(QUOTE_PATH, update(JOINED[name]), baseline=baseline), "stable")

    assert evidence.verdict is Verdict.FAIL
    assert "transfer: of the whole model's preference the circuit alone has" in evidence.reason
    assert "effects: as shares of the whole model's preference they change" in evidence.reason
    assert (evidence.measures["effects_change"] or 0) > 0.8
    assert evidence.measures["effects"] == 1  # their order is as it was
    assert (evidence.measures["identity"] or 0) > 0.95


@pytest.mark.parametrize("path", [1.2, 2.0])
def test_a_model_that_is_surer_or_less_sure_by_a_common_factor_is_stable(
    bench_of: MakeBench, make_model: MakeModel, copier: Model, path: float
) -> None:
    evidence = run_claim(
        bench_of(QUOTE_PATH, make_model(Weights(path=path)), baseline=copier), "stable"
    )

    assert evidence.verdict is Verdict.PASS


def test_a_sign_that_turns_what_a_node_does_is_not_the_same_signal(
    bench_of: MakeBench, make_model: MakeModel, copier: Model
) -> None:
    turned = make_model(Weights(path=-1.5))

    evidence = run_claim(bench_of(QUOTE_PATH, turned, baseline=copier), "stable")

    assert evidence.verdict is Verdict.FAIL
    assert "identity: another signal than in the baseline is carried by" in evidence.reason
    assert (evidence.measures["effects_change"] or 0) > 1.5


def test_a_node_that_carries_another_signal_does_not_hide_in_the_mean(
    bench_of: MakeBench,
) -> None:
    lax = "{max_drop: 0.02, identity: {min_correlation: 0.8}}"
    recorded = record_baseline(bench_of(QUOTE_PATH, stable=lax), [])
    signals = recorded.observation.signals.copy()
    value = recorded.node_ids.index("0.attn.v[0]")
    signals[value] = np.roll(signals[value], 3)
    other = replace(recorded, observation=replace(recorded.observation, signals=signals))

    evidence = run_claim(bench_of(QUOTE_PATH, baseline=other, stable=lax), "stable")

    assert evidence.verdict is Verdict.FAIL
    assert "is carried by 0.attn.v[0] (" in evidence.reason
    assert (evidence.measures["identity"] or 0) > 0.8
