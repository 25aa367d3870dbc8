"""Claims about circuits whose nodes count at some tokens alone, on the quote copier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.runner import Wholes
from pytest_circuits.circuit.view import WHOLE, View
from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.claims.laws import run_claim
from pytest_circuits.claims.setup import check_bench, make_bench
from pytest_circuits.errors import SpecError
from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.spec.load import parse_spec
from tests.claims.conftest import MakeBench
from tests.known_models import DETECT, OUT, QUOTE_PATH, TYPE, Circuit, quote_spec

RIGHT: Circuit = {
    "0.attn.act_in at cue": [DETECT, TYPE],
    "0.attn.k at cue": [0],
    "0.attn.v at cue": [0],
    "0.attn.resid_delta at last": [OUT],
    "final_resid at last": [OUT],
}
WRONG = {name.replace(" at cue", " at words"): nodes for name, nodes in RIGHT.items()}
ENOUGH = "{pairs: 300, search: 30, controls: 59}"
ALL = ("sufficient", "necessary", "faithful", "minimal")


@pytest.mark.parametrize("claim", ALL)
def test_a_circuit_at_its_places_passes(bench_of: MakeBench, claim: str) -> None:
    found = run_claim(bench_of(RIGHT, claims=(claim,), protocol=ENOUGH), claim)
    assert found.verdict is Verdict.PASS, found.reason


@pytest.mark.parametrize("claim", ["sufficient", "necessary"])
def test_at_other_places_it_fails(bench_of: MakeBench, claim: str) -> None:
    found = run_claim(bench_of(WRONG, claims=(claim,)), claim)
    assert found.verdict is Verdict.FAIL, found.reason


def test_places_hold_where_words_hold_what_separates_them(
    copier: SparseModel, tmp_path: Path
) -> None:
    for nodes, verdict in ((RIGHT, Verdict.PASS), (WRONG, Verdict.FAIL)):
        text = quote_spec(nodes, claims=("necessary",))
        text = text.replace("from: [alpha, beta,", "from: [alpha beta, beta alpha,")
        bench = make_bench(parse_spec(text, path=tmp_path / "q.circuit.yaml"), copier)
        found = run_claim(bench, "necessary")
        assert found.verdict is verdict, found.reason


def test_a_place_that_is_at_no_token_of_any_prompt_is_refused(
    copier: SparseModel, tmp_path: Path
) -> None:
    text = quote_spec({**RIGHT, "0.attn.v at text": [1]}, claims=("sufficient",))
    text = text.replace("{name} = {cue}{words}", "{name}{cue}{words}")
    bench = make_bench(parse_spec(text, path=tmp_path / "q.circuit.yaml"), copier)

    with pytest.raises(SpecError) as caught:
        check_bench(bench)

    assert "q.circuit.yaml:20:3: no token of any prompt is at 'text'" in str(caught.value)


def test_under_contrast_the_partners_values_come_from_the_same_places(bench_of: MakeBench) -> None:
    read_at_cue = {name: nodes for name, nodes in RIGHT.items() if name.endswith("at cue")}
    for claim in ("sufficient", "necessary"):
        found = run_claim(bench_of(RIGHT, claims=(claim,), ablation="contrast"), claim)
        assert found.verdict is Verdict.PASS, found.reason
    bench = bench_of(read_at_cue, claims=("necessary",), ablation="contrast")
    found = run_claim(bench, "necessary")
    assert found.verdict is Verdict.PASS, found.reason  # turned where it is read: all turns


def test_a_node_at_more_places_than_it_needs_is_named(bench_of: MakeBench) -> None:
    more = {**RIGHT, "0.attn.v at text": [0]}

    found = run_claim(bench_of(more, claims=("minimal",)), "minimal")

    assert found.verdict is Verdict.FAIL
    assert "taking out 1 of 7 parts" in found.reason
    assert ": 0.attn.v[0] at text;" in found.reason


def test_a_run_of_several_circuits_tells_places_as_one_of_this_alone(
    copier: SparseModel, tmp_path: Path
) -> None:
    wholes: Wholes = {}
    plain, placed = (
        parse_spec(quote_spec(nodes, protocol=ENOUGH), path=tmp_path / "q.circuit.yaml")
        for nodes in (QUOTE_PATH, RIGHT)
    )
    before = make_bench(plain, copier, wholes=wholes)
    pairs = before.control_pairs
    before.runner.margins(pairs, WHOLE)
    shared, alone = make_bench(placed, copier, wholes=wholes), make_bench(placed, copier)

    for view in (shared.circuit, shared.without):
        assert np.array_equal(shared.runner.margins(pairs, view), alone.runner.margins(pairs, view))
    left = shared.runner.margins(pairs, View.without(Nodes.of({"0.attn.v elsewhere": [0]})))
    assert np.abs(left - shared.runner.margins(pairs, WHOLE)).max() < 0.5


def test_controls_have_as_many_nodes_at_each_place(bench_of: MakeBench) -> None:
    bench = bench_of(RIGHT, claims=("sufficient",))
    assert bench.nodes.ids()[:2] == ["0.attn.act_in[0] at cue", "0.attn.act_in[1] at cue"]
    for control in (*bench.controls, *bench.controls_outside):
        assert control.shape == bench.nodes.shape
    assert bench.rest.size + bench.nodes.count == sum(s.width for s in bench.model.sites.values())
