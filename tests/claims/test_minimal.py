"""`minimal` holds when each part of the circuit earns its place, and names those that do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pytest_circuits.circuit.edges import live_edges
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.circuit_parts import breaking, parts_of
from pytest_circuits.claims.evidence import Evidence, Verdict
from pytest_circuits.claims.laws import run_claim
from pytest_circuits.claims.necessary import shown_gone, still_there
from pytest_circuits.claims.statistics import holm
from pytest_circuits.model.protocol import Model
from tests.claims.conftest import MakeBench, MakeModel
from tests.known_models import NOISE, QUOTE_PATH, WEAK_PATH, Circuit, Weights, merged
from tests.known_models.copier import D_MODEL

# A query that is constant is the same before and after mean ablation, and needs no node.
NEEDED: Circuit = {hook: nodes for hook, nodes in QUOTE_PATH.items() if hook != "0.attn.q"}
CLAIMS = ("behaves", "sufficient", "necessary", "minimal")
PROTOCOL = "{pairs: 300, search: 10, controls: 59}"


def circuit(bench_of: MakeBench, nodes: Circuit, **options: str) -> Bench:
    return bench_of(nodes, **{"claims": CLAIMS, "protocol": PROTOCOL, **options})


def found(bench: Bench) -> Evidence:
    return run_claim(bench, "minimal")


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_each_node_of_the_path_earns_its_place(bench_of: MakeBench, name: str) -> None:
    evidence = found(circuit(bench_of, NEEDED, name=name))

    assert evidence.verdict is Verdict.PASS
    assert evidence.reason.startswith("taking out any of 6 parts changes more than 90.0 % of")


def test_under_zero_ablation_the_constant_query_is_needed_too(bench_of: MakeBench) -> None:
    assert found(circuit(bench_of, QUOTE_PATH, ablation="zero")).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("node", "claims", "needed"),
    [
        ("0.attn.k[0]", ("behaves", "faithful"), True),  # where the head looks is asked
        ("0.attn.k[0]", ("behaves",), False),
        ("0.attn.q[0]", ("behaves", "faithful"), False),  # constant: nothing changes without it
    ],
)
def test_a_part_without_which_the_circuit_no_longer_runs_as_the_model_does_is_needed(
    bench_of: MakeBench, make_model: MakeModel, node: str, claims: tuple[str, ...], *, needed: bool
) -> None:
    """The path is so strong that even attention does: without its key it attends elsewhere."""
    bench = bench_of(QUOTE_PATH, make_model(Weights(path=10.0)), claims=claims, protocol=PROTOCOL)
    (part,) = (p for p in parts_of(bench.nodes, None, bench.model.sites) if p.name == node)

    assert breaking(bench, [part]).tolist() == [needed]


@pytest.mark.parametrize(
    ("kept", "there", "gone"),
    [(0.5, False, True), (0.64, False, False), (0.8, True, False)],
    ids=["shown", "not shown", "shown to fail"],
)
def test_what_a_claim_no_longer_shows_without_a_part_is_broken_by_leaving_it_out(
    bench_of: MakeBench, kept: float, *, there: bool, gone: bool
) -> None:
    """`necessary` asks for at most 65 %: 64 % of 300 prompts are too few to show that."""
    bench = circuit(bench_of, NEEDED)
    size = len(bench.sample.pairs)
    margins = np.where(np.arange(size) < kept * size, 0.1, -0.1)[:, None].repeat(2, axis=1)

    assert (still_there(bench, margins), shown_gone(bench, margins)) == (there, gone)


def test_a_part_without_which_an_attack_finds_what_hurts_is_needed(
    bench_of: MakeBench, make_model: MakeModel
) -> None:
    """Of two channels that cancel one is in the circuit, or the other would turn prompts alone."""
    held = merged(NEEDED, {"final_resid": [D_MODEL - 1]})
    model = make_model(Weights(cancel=8.0))
    bench = bench_of(held, model, claims=("behaves", "faithful"), protocol=PROTOCOL)
    parts = parts_of(bench.nodes, None, bench.model.sites)
    (idle,) = parts_of(Nodes.of({"1.mlp.post_act": [30]}), None, bench.model.sites)
    padded = replace(bench, nodes=Nodes.gather([*bench.nodes, *idle.nodes]))

    assert breaking(bench, parts[-1:]).all()
    assert not breaking(padded, [idle]).any()


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({"0.attn.q": [0]}, ["0.attn.q[0]"]),
        ({"1.mlp.post_act": [30]}, ["1.mlp.post_act[30]"]),
        ({"final_resid": [NOISE.start]}, [f"final_resid[{NOISE.start}]"]),
    ],
    ids=["constant", "idle", "noise"],
)
def test_a_node_that_is_not_needed_is_named_and_the_smaller_circuit_offered(
    bench_of: MakeBench, more: Circuit, names: list[str]
) -> None:
    bench = circuit(bench_of, merged(NEEDED, more), protocol=PROTOCOL.replace("300", "1000"))

    evidence = found(bench)

    assert {run_claim(bench, claim).verdict for claim in CLAIMS[:3]} == {Verdict.PASS}
    assert evidence.verdict is Verdict.FAIL
    assert f"random nodes that are added do: {', '.join(names)}; without it 6 nodes" in (
        evidence.reason
    )
    assert evidence.measures["smaller_nodes"] == 6


def test_the_shift_of_a_calibrated_circuit_is_no_effect_of_its_parts(bench_of: MakeBench) -> None:
    """Were it one, it would make every part that is taken out look as large as the shift."""
    calibrated = "calibration: {scale: 1.0, shift: 2.0}\n"
    needed = found(circuit(bench_of, NEEDED, extra=calibrated))
    padded = found(circuit(bench_of, merged(NEEDED, {"0.attn.q": [0]}), extra=calibrated))

    assert needed.verdict is Verdict.PASS
    assert padded.verdict is Verdict.FAIL
    assert "0.attn.q[0]" in padded.reason
    effect = padded.measures["effect_least"]
    assert effect is not None
    assert effect < 0.1


def test_an_edge_that_is_not_needed_is_named(bench_of: MakeBench, copier: Model) -> None:
    nodes = merged(NEEDED, {"0.attn.v": [8], "0.attn.act_in": [4]})
    listed = live_edges(Nodes.of(nodes), copier).listed()
    extra = "".join(f"\n  {key}: {[list(pair) for pair in pairs]}" for key, pairs in listed.items())

    evidence = found(circuit(bench_of, nodes, extra=f"edges:{extra}\n"))

    assert evidence.verdict is Verdict.FAIL
    assert "0.attn.act_in -> 0.attn.v [4, 8]" in evidence.reason
    assert "0.attn.act_in -> 0.attn.k" not in evidence.reason


def test_too_few_random_nodes_show_nothing(bench_of: MakeBench) -> None:
    few = PROTOCOL.replace("59", "19")

    evidence = found(circuit(bench_of, NEEDED, protocol=few))

    assert evidence.verdict is Verdict.INCONCLUSIVE
    assert "more protocol.controls" in evidence.reason


def test_a_circuit_that_does_nothing_is_not_minimal(bench_of: MakeBench) -> None:
    assert found(circuit(bench_of, WEAK_PATH)).verdict is not Verdict.PASS


def test_holm_holds_the_smallest_against_the_strictest_level() -> None:
    p = np.array([0.04, 0.001, 0.02, 0.012])

    assert holm(p, 0.05).tolist() == [True, True, True, True]
    assert holm(np.array([0.03, 0.001, 0.03]), 0.05).tolist() == [False, True, False]
    assert holm(np.array([0.02, 0.06]), 0.05).tolist() == [True, False]
    assert not holm(np.array([]), 0.05).any()


def test_a_circuit_that_leaves_no_node_of_a_kind_to_compare_with_shows_nothing(
    bench_of: MakeBench, copier: Model
) -> None:
    every: Circuit = {"final_resid": range(copier.sites["final_resid"].width)}

    evidence = found(circuit(bench_of, merged(NEEDED, every)))

    assert evidence.verdict is Verdict.INCONCLUSIVE
    assert "outside of the circuit no node of the kind final_resid varies" in evidence.reason


def test_without_nodes_nothing_is_minimal(bench_of: MakeBench) -> None:
    evidence = found(circuit(bench_of, {}))

    assert (evidence.verdict, evidence.reason) == (Verdict.FAIL, "the circuit has no nodes")
