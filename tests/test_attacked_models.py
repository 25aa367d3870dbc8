"""The models of `known_models/attacks.py` do what each says, whatever the claims say of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from pytest_circuits.circuit.edges import live_edges
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.view import WHOLE, View
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.faithful.internals import look_inside
from pytest_circuits.claims.statistics import softplus
from pytest_circuits.spec.ablations import Ablation
from tests.known_models import D_MODEL, Weights, merged
from tests.known_models.attack_rows import NORM_CHEAT, TURNED_UP
from tests.known_models.attacks import (
    SPREAD,
    Change,
    aimed_by_words,
    backup,
    bag_of_words,
    bypassed,
    cancelling,
    left_out,
)
from tests.known_models.rows import QUOTE
from tests.known_models.workshop import PLAIN, Workshop

MEAN, CONTRAST = Ablation.MEAN, Ablation.CONTRAST
ALONE, WITHOUT, CUT = "circuit alone", "without its nodes", "its edges cut"
SEED, PAIRS = 1, 100
COMMON = [(1, 8.0), (16, 16.0), (24, 16.0)]  # pairs that cancel for both cues, and how much
Run = tuple[Ablation, str]
# Of each model the runs in which the answer is still preferred; in all others it is not.
CIRCUIT_HOLDS = {(MEAN, ALONE), (CONTRAST, ALONE)}
BYPASSED = {(MEAN, ALONE), (MEAN, CUT), (CONTRAST, CUT)}
KEEPS: dict[str, tuple[Change | None, Weights, set[Run]]] = {
    "nothing": (None, PLAIN, CIRCUIT_HOLDS),
    "backup": (backup, PLAIN, BYPASSED),
    "bag of words": (bag_of_words, PLAIN, BYPASSED),
    "bypassed": (bypassed, PLAIN, BYPASSED),
    "left out": (partial(left_out, beside=1.5), PLAIN, {(MEAN, ALONE)}),
    "norm cheat": (*NORM_CHEAT, {(MEAN, ALONE)}),
    "turned up": (*TURNED_UP, {(MEAN, ALONE)}),
    "aimed by words": (aimed_by_words, PLAIN, {(CONTRAST, ALONE)}),
    **{
        f"{pairs} pairs cancel": (None, Weights(cancel=size, pairs=pairs), CIRCUIT_HOLDS)
        for pairs, size in COMMON
    },
    **{
        f"{pairs} pairs of the cue cancel": (
            partial(cancelling, pairs=pairs, size=4.0),
            Weights(weak=0.0),
            CIRCUIT_HOLDS,
        )
        for pairs in (1, 16, 24)
    },
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("attacked"), SEED, pairs=PAIRS)


@pytest.fixture
def bench_of(shop: Workshop) -> Callable[[Change | None, Weights], Bench]:
    def make(change: Change | None, weights: Weights) -> Bench:
        model = shop.altered(change, weights) if change else shop.copier(weights)
        return shop.bench(QUOTE, model)

    return make


@pytest.mark.parametrize("name", KEEPS)
def test_the_answer_survives_in_these_runs_alone(
    bench_of: Callable[[Change | None, Weights], Bench], name: str
) -> None:
    change, weights, keeps = KEEPS[name]
    bench = bench_of(change, weights)
    cut = View.without(Nodes.of({}), live_edges(bench.nodes, bench.model))
    views = {ALONE: bench.circuit, WITHOUT: bench.without, CUT: cut}

    rates = {
        (ablation, run): _rate(bench, view, ablation)
        for ablation in (MEAN, CONTRAST)
        for run, view in views.items()
    }

    assert _rate(bench, WHOLE, MEAN) == 1
    assert {run for run, rate in rates.items() if rate > 0.95} == keeps
    assert {run for run, rate in rates.items() if rate > 0.65} == keeps


def _rate(bench: Bench, view: View, ablation: Ablation) -> float:
    margins = bench.runner.under(ablation).margins(bench.sample.pairs, view)
    return float((margins > 0).mean())


@pytest.mark.parametrize(
    ("planted", "share", "loss"), [(NORM_CHEAT, 0.09, 0.37), (TURNED_UP, 0.14, 0.05)]
)
def test_the_named_path_carries_a_small_share_of_what_tells_the_cues_apart(
    bench_of: Callable[[Change | None, Weights], Bench],
    planted: tuple[Change, Weights],
    share: float,
    loss: float,
) -> None:
    bench = bench_of(*planted)
    whole = bench.runner.margins(bench.sample.pairs, WHOLE)
    aside = bench.runner.margins(bench.sample.pairs, View.without(Nodes.of({"final_resid": [2]})))
    # The norm grows a little with what is left out.
    assert 1 - aside.mean() / whole.mean() == pytest.approx(share, abs=0.02)
    assert look_inside(bench).frozen.mean() == pytest.approx(loss, abs=0.03)


@pytest.mark.parametrize(("pairs", "size"), COMMON)
def test_half_of_what_cancels_left_beside_the_circuit_decides_the_answer(
    bench_of: Callable[[Change | None, Weights], Bench], pairs: int, size: float
) -> None:
    bench = bench_of(None, Weights(cancel=size, pairs=pairs))
    half = {"final_resid": range(D_MODEL - 2 * pairs, D_MODEL, 2)}

    gap = _gap(bench, View.circuit(Nodes.of(merged(QUOTE, half))), MEAN)

    assert gap > 0.3
    assert _gap(bench, View.without(Nodes.of(half)), CONTRAST) < 0.01


@pytest.mark.parametrize("pairs", [1, 16, 24])
def test_half_of_what_cancels_for_each_cue_turns_the_answer(
    bench_of: Callable[[Change | None, Weights], Bench], pairs: int
) -> None:
    bench = bench_of(partial(cancelling, pairs=pairs, size=4.0), Weights(weak=0.0))
    halves = (
        Nodes.of({"final_resid": range(first, SPREAD + 2 * pairs, 2)})
        for first in (SPREAD, SPREAD + 1)
    )
    assert max(_gap(bench, View.without(half), CONTRAST) for half in halves) > 1


def _gap(bench: Bench, view: View, ablation: Ablation) -> float:
    """How much higher the task loss is than the whole model's."""
    runner, pairs = bench.runner.under(ablation), bench.sample.pairs
    losses = [softplus(runner.margins(pairs, each)).mean() for each in (view, WHOLE)]
    return float(np.subtract(*losses))
