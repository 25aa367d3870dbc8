"""`sufficient` holds for a circuit that does the job alone, better than random ones."""

from __future__ import annotations

import pytest

from pytest_circuits.circuit.edges import Edges, live_edges
from pytest_circuits.circuit.nodes import Nodes, all_nodes
from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.claims.laws import run_claim
from pytest_circuits.model.protocol import Model
from tests.claims.conftest import MakeBench
from tests.known_models import BRACKET_PATH, QUOTE_PATH, WEAK_PATH, Circuit, merged


def test_the_path_of_the_quote_is_sufficient(bench_of: MakeBench) -> None:
    evidence = run_claim(bench_of(QUOTE_PATH), "sufficient")

    assert evidence.verdict is Verdict.PASS
    assert evidence.measures["task_loss"] == pytest.approx(0, abs=0.01)
    assert (
        "with 99 % confidence, losses beyond 2.5 nats counted as 2.5; at most 0.15"
        in evidence.reason
    )
    assert evidence.measures["control_p"] == pytest.approx(1 / 40)


def test_the_circuit_runs_compiled_where_the_claims_ask_much_of_it(bench_of: MakeBench) -> None:
    much, little = bench_of(QUOTE_PATH), bench_of(QUOTE_PATH, protocol="{pairs: 100, search: 30}")

    assert run_claim(much, "sufficient").verdict is run_claim(little, "sufficient").verdict
    assert much.runner.compiled > 600
    assert little.runner.compiled == 0


@pytest.mark.parametrize(
    "nodes", [WEAK_PATH, BRACKET_PATH, {"final_resid": [2]}], ids=["weak", "bracket", "no path"]
)
def test_what_does_not_do_the_job_alone_is_not_sufficient(
    bench_of: MakeBench, nodes: Circuit
) -> None:
    assert run_claim(bench_of(nodes), "sufficient").verdict is Verdict.FAIL


def test_all_nodes_are_no_better_than_random_circuits(bench_of: MakeBench, copier: Model) -> None:
    everything = dict(all_nodes(copier).channels)

    evidence = run_claim(bench_of(everything), "sufficient")

    assert evidence.verdict is Verdict.FAIL
    assert "no better than chance" in evidence.reason
    assert evidence.rate is not None
    assert evidence.rate.estimate == 1


@pytest.mark.parametrize("node", list(Nodes.of(QUOTE_PATH)), ids=str)
def test_every_node_that_carries_the_cue_matters(
    bench_of: MakeBench, node: tuple[str, int]
) -> None:
    hook, channel = node
    rest = dict(Nodes.of(QUOTE_PATH).without(hook, channel).channels)

    verdict = run_claim(bench_of(rest), "sufficient").verdict

    constant = hook == "0.attn.q"  # under mean ablation a constant stays what it is
    assert verdict is (Verdict.PASS if constant else Verdict.FAIL)


def edges_text(edges: Edges) -> str:
    listed = "".join(
        f"\n  {key}: {[list(pair) for pair in pairs]}" for key, pairs in edges.listed().items()
    )
    return f"edges:{listed or ' {}'}\n"


def test_the_path_with_its_true_edges_is_sufficient(bench_of: MakeBench, copier: Model) -> None:
    nodes = merged(QUOTE_PATH, WEAK_PATH)
    true = live_edges(Nodes.of(QUOTE_PATH), copier)

    evidence = run_claim(bench_of(nodes, extra=edges_text(true)), "sufficient")

    assert evidence.verdict is Verdict.PASS
    assert evidence.measures["control_p"] == pytest.approx(1 / 40)


@pytest.mark.parametrize("missing", range(3))
def test_every_edge_that_carries_the_cue_matters(
    bench_of: MakeBench, copier: Model, missing: int
) -> None:
    true = live_edges(Nodes.of(QUOTE_PATH), copier)
    kept = [edge for index, edge in enumerate(true) if index != missing]
    edges = Edges.of({ends: [pair for e, pair in kept if e == ends] for ends, _ in kept})
    assert (true.count, edges.count) == (3, 2)

    evidence = run_claim(bench_of(QUOTE_PATH, extra=edges_text(edges)), "sufficient")

    assert evidence.verdict is Verdict.FAIL


def test_the_edges_of_a_decoy_are_not_sufficient(bench_of: MakeBench, copier: Model) -> None:
    nodes = merged(QUOTE_PATH, WEAK_PATH)
    decoy = live_edges(Nodes.of(WEAK_PATH), copier)

    evidence = run_claim(bench_of(nodes, extra=edges_text(decoy)), "sufficient")

    assert evidence.verdict is Verdict.FAIL
    assert evidence.law is not None
    assert evidence.law.counterexample is not None


def test_without_any_edge_nothing_is_sufficient(bench_of: MakeBench) -> None:
    bench = bench_of(QUOTE_PATH, extra="edges: {}")

    assert run_claim(bench, "sufficient").verdict is Verdict.FAIL


def test_a_circuit_found_with_zero_ablation_is_sufficient_under_it(bench_of: MakeBench) -> None:
    assert run_claim(bench_of(WEAK_PATH, ablation="zero"), "sufficient").verdict is Verdict.PASS


def test_a_broken_law_shows_the_smallest_prompt_and_all_runs(bench_of: MakeBench) -> None:
    evidence = run_claim(bench_of(BRACKET_PATH), "sufficient")

    assert evidence.law is not None
    found = evidence.law.counterexample
    assert found is not None
    assert found.prompt == 'x = "alpha'
    runs = {"whole model", "circuit alone", "without the circuit"}
    assert set(found.margins) == set(found.logits) == runs
    assert found.margins["circuit alone"] == pytest.approx(
        found.logits["circuit alone"]["answer"] - found.logits["circuit alone"]["foil"]  # type: ignore[operator]
    )
