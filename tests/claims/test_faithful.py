"""`faithful` holds for what the model does, and not for what merely does the job alone."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_circuits.circuit.edges import live_edges
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.evidence import Evidence, Verdict
from pytest_circuits.claims.laws import run_claim
from pytest_circuits.model.protocol import Model
from tests.claims.conftest import QUICK, MakeBench, MakeModel
from tests.known_models import (
    BRACKET_PATH,
    NOWHERE,
    OUT,
    QUOTE_PATH,
    TYPE,
    WEAK_PATH,
    Circuit,
    Weights,
    merged,
)

OTHERS = ("behaves", "sufficient", "necessary")
SMALL = "{pairs: 100, search: 10, controls: 19}"
# The head's values are zero but at the quote, so that even attention finds it as well.
BYPASS: Circuit = {
    "0.attn.act_in": [TYPE],
    "0.attn.v": [0],
    "0.attn.resid_delta": [OUT],
    "final_resid": [OUT],
}
TURNED: Circuit = {"0.attn.resid_delta": [NOWHERE], "final_resid": [NOWHERE]}


def faithful(
    bench_of: MakeBench, nodes: Circuit, model: Model | None = None, **options: object
) -> Bench:
    options = {"claims": (*OTHERS, "faithful"), **options}
    if model is None:
        return bench_of(nodes, **{"protocol": SMALL, **options})
    return bench_of(nodes, model, **options)


def others(bench: Bench) -> set[Verdict]:
    return {run_claim(bench, claim).verdict for claim in OTHERS}


def found(bench: Bench) -> Evidence:
    return run_claim(bench, "faithful")


@pytest.mark.parametrize(
    ("nodes", "options"),
    [
        (QUOTE_PATH, {}),
        (QUOTE_PATH, {"ablation": "zero"}),
        (BRACKET_PATH, {"behavior": "bracket"}),
    ],
    ids=["quote", "zero", "bracket"],
)
def test_a_true_path_is_faithful(
    bench_of: MakeBench, nodes: Circuit, options: dict[str, Any]
) -> None:
    evidence = found(faithful(bench_of, nodes, **options))

    assert evidence.verdict is Verdict.PASS
    assert evidence.measures["correlation"] == pytest.approx(1, abs=1e-3)
    assert evidence.measures["attention_distance"] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_true_path_is_faithful_whatever_the_seed(bench_of: MakeBench, name: str) -> None:
    assert found(faithful(bench_of, QUOTE_PATH, name=name)).verdict is Verdict.PASS


def test_listed_edges_are_a_part_of_the_circuit_and_others_of_the_rest(
    bench_of: MakeBench, copier: Model
) -> None:
    true = live_edges(Nodes.of(QUOTE_PATH), copier)
    nodes = merged(QUOTE_PATH, WEAK_PATH)
    listed = "".join(f"\n  {key}: {list(map(list, p))}" for key, p in true.listed().items())

    bench = faithful(bench_of, nodes, extra=f"edges:{listed}\n")

    assert bench.rest.edges
    assert found(bench).measures["gap_worst"] == pytest.approx(0, abs=0.2)
    cut = faithful(bench_of, QUOTE_PATH, extra="edges: {}\n")
    assert len(cut.rest.edges) == true.count
    assert found(cut).verdict is Verdict.FAIL


def test_ablations_that_cancel_are_told_by_ablating_parts(
    bench_of: MakeBench, make_model: MakeModel
) -> None:
    protocol = QUICK.replace("}", ", margin: 1}")
    model = make_model(Weights(cancel=8.0))
    bench = faithful(bench_of, QUOTE_PATH, model, protocol=protocol)

    evidence = found(bench)

    assert others(bench) == {Verdict.PASS}
    assert evidence.verdict is Verdict.FAIL
    assert "of the rest ablated" in evidence.reason
    assert evidence.law is not None
    assert evidence.law.counterexample is not None
    assert "worst part of the rest ablated" in evidence.law.counterexample.margins


def test_attention_that_is_bypassed_is_told_by_the_head(
    bench_of: MakeBench, make_model: MakeModel
) -> None:
    bench = faithful(bench_of, BYPASS, make_model(Weights(path=10.0)))

    evidence = found(bench)

    assert others(bench) == {Verdict.PASS}
    assert evidence.verdict is Verdict.FAIL
    assert "head 0.0 attends elsewhere" in evidence.reason
    assert "values are kept without its queries and keys" in evidence.reason


def test_a_node_that_changes_its_role_is_named(bench_of: MakeBench, make_model: MakeModel) -> None:
    bench = faithful(bench_of, merged(QUOTE_PATH, TURNED), make_model(Weights(turned=0.5)))

    evidence = found(bench)

    assert others(bench) == {Verdict.PASS}
    assert evidence.verdict is Verdict.FAIL
    assert f"the other way round than whole: 0.attn.resid_delta[{NOWHERE}]" in evidence.reason


def test_a_path_that_works_because_the_norm_shrinks_is_told_by_frozen_norms(
    bench_of: MakeBench,
) -> None:
    gap = merged(WEAK_PATH, {"final_resid": [OUT]})
    bench = faithful(bench_of, gap, ablation="zero", protocol=QUICK)

    evidence = found(bench)

    assert run_claim(bench, "sufficient").verdict is Verdict.PASS
    assert evidence.verdict is Verdict.FAIL
    assert "with the norm scales of the whole model" in evidence.reason


def test_a_wrong_rule_is_told_where_the_rules_disagree(bench_of: MakeBench) -> None:
    start = 'disambiguate:\n  - {prompt: "x = \'alpha", between: ["\'", \'"\']}\n'
    brackets = "".join(
        f"  - {{prompt: 'x = {cue}alpha beta', between: [')', ']']}}\n" for cue in "(["
    )

    agreeing = found(faithful(bench_of, QUOTE_PATH, extra=start))
    wrong = found(faithful(bench_of, QUOTE_PATH, extra=start + brackets))

    assert agreeing.verdict is Verdict.PASS
    assert "agree on all 1 prompts that tell rules apart" in agreeing.reason
    assert wrong.verdict is Verdict.FAIL
    assert "of 3 prompts that tell rules apart" in wrong.reason
    assert "alpha beta'" in wrong.reason


def test_without_nodes_nothing_is_faithful(bench_of: MakeBench) -> None:
    evidence = found(faithful(bench_of, {}))

    assert evidence.verdict is Verdict.FAIL
    assert "the circuit has no nodes" in evidence.reason


def test_without_a_head_there_is_no_attention_to_compare(bench_of: MakeBench) -> None:
    evidence = found(faithful(bench_of, {"final_resid": [OUT]}))

    assert evidence.verdict is Verdict.FAIL
    assert evidence.measures["attention_distance"] == 0
