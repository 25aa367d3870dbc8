"""`necessary` holds when ablating the circuit, and not just any circuit, ends the behavior."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_circuits.circuit.nodes import all_nodes
from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.claims.laws import run_claim
from pytest_circuits.model.protocol import Model
from tests.claims.conftest import MakeBench, MakeModel
from tests.known_models import (
    BIAS_NODE,
    BRACKET_PATH,
    QUOTE_PATH,
    WEAK_PATH,
    Circuit,
    Weights,
    merged,
    two_hop,
)
from tests.known_models.attacks import backup
from tests.known_models.workshop import ENOUGH, Workshop


def test_the_path_of_the_quote_is_necessary(bench_of: MakeBench) -> None:
    evidence = run_claim(bench_of(QUOTE_PATH), "necessary")

    assert evidence.verdict is Verdict.PASS
    assert evidence.measures["separation"] == pytest.approx(0, abs=0.2)


@pytest.mark.parametrize("nodes", [{}, WEAK_PATH, BRACKET_PATH], ids=["empty", "weak", "bracket"])
def test_what_the_model_can_do_without_is_not_necessary(
    bench_of: MakeBench, nodes: Circuit
) -> None:
    assert run_claim(bench_of(nodes), "necessary").verdict is Verdict.FAIL


def test_listed_edges_leave_the_complement_as_it_is(bench_of: MakeBench) -> None:
    bench, listed = bench_of(QUOTE_PATH), bench_of(QUOTE_PATH, extra="edges: {}")

    assert listed.circuit != bench.circuit
    assert listed.without == bench.without


def test_a_backup_path_is_found_and_shown(bench_of: MakeBench, make_model: MakeModel) -> None:
    redundant = make_model(Weights(weak=1.5))

    evidence = run_claim(bench_of(QUOTE_PATH, redundant), "necessary")

    assert evidence.verdict is Verdict.FAIL
    assert evidence.law is not None
    assert evidence.law.counterexample is not None
    assert "another path" in evidence.law.counterexample.violation


def test_both_of_two_redundant_paths_are_necessary_together(
    bench_of: MakeBench, make_model: MakeModel
) -> None:
    redundant = make_model(Weights(weak=1.5))

    both = run_claim(bench_of(merged(QUOTE_PATH, WEAK_PATH), redundant), "necessary")

    assert both.verdict is Verdict.PASS


def test_a_node_without_which_one_answer_is_always_given_tells_nothing_apart_and_is_caught(
    bench_of: MakeBench, make_model: MakeModel
) -> None:
    biased = make_model(Weights(bias=24.0))

    evidence = run_claim(bench_of(BIAS_NODE, biased), "necessary")

    nodes = evidence.measures["rate_nodes"]
    assert nodes is not None
    assert nodes < 0.65, "the rate alone would have let it pass"
    assert evidence.verdict is Verdict.FAIL
    assert "still told apart" in evidence.reason


def test_all_nodes_are_no_more_necessary_than_random_ones(
    bench_of: MakeBench, copier: Model
) -> None:
    everything = dict(all_nodes(copier).channels)

    evidence = run_claim(bench_of(everything), "necessary")

    assert evidence.verdict is Verdict.FAIL
    assert "any circuit of this size" in evidence.reason


def test_a_circuit_padded_to_half_the_model_is_not_shown_to_be_necessary(
    bench_of: MakeBench, copier: Model
) -> None:
    half = {hook: range(0, site.width, 2) for hook, site in copier.sites.items()}

    evidence = run_claim(bench_of(merged(QUOTE_PATH, half)), "necessary")

    assert evidence.verdict is not Verdict.PASS


def test_the_rate_that_is_shown_is_one_that_fails(tmp_path: Path) -> None:
    """Its nodes are needed; its edges are not, and that is what the table has to show."""
    shop = Workshop(tmp_path, 1, pairs=ENOUGH)

    evidence = run_claim(shop.bench(QUOTE_PATH, shop.altered(backup)), "necessary")

    assert evidence.verdict is Verdict.FAIL
    assert evidence.rate is not None
    assert evidence.rate.lower > evidence.rate.threshold
    assert evidence.measures["rate_edges"] == evidence.rate.estimate


def test_weights_that_edges_does_not_list_are_named_where_they_do_it_as_well(
    bench_of: MakeBench, make_model: MakeModel
) -> None:
    said = "weights between them that `edges` does not list do it as well"

    unlisted = run_claim(bench_of(QUOTE_PATH, extra="edges: {}"), "necessary")
    assert unlisted.verdict is Verdict.FAIL
    assert said in unlisted.reason

    elsewhere = run_claim(bench_of(QUOTE_PATH, make_model(Weights(weak=1.5))), "necessary")
    assert elsewhere.verdict is Verdict.FAIL
    assert said not in elsewhere.reason
    listed = run_claim(bench_of({"final_resid": [0]}, extra="edges: {}"), "necessary")
    assert said not in listed.reason  # nothing between its nodes does it


def test_a_margin_above_half_of_the_separation_is_no_evidence(bench_of: MakeBench) -> None:
    evidence = run_claim(bench_of(QUOTE_PATH, protocol="{margin: 6}"), "necessary")

    assert evidence.verdict is Verdict.INCONCLUSIVE
    assert "no evidence" in evidence.reason


@pytest.mark.parametrize("seed", range(3))
def test_random_circuits_of_a_narrow_model_do_not_count_for_hitting_the_true_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seed: int
) -> None:
    """Of 18 random nodes among 64 channels, one is the true circuit's more often than not."""
    monkeypatch.setattr(two_hop, "WIDTH", 64)
    answer = replace(two_hop.two_hop_lookup(seed), protocol="{controls: 59}")
    shop = Workshop(tmp_path, seed, pairs=ENOUGH)

    evidence = run_claim(shop.answer_bench(answer, answer.nodes), "necessary")

    assert evidence.verdict is Verdict.PASS
    assert evidence.measures["control_left"] == 1.0
