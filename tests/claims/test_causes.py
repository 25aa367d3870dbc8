"""A counterexample names the node or edge that was taken out, or that does the job besides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from pytest_circuits.circuit.edges import Edges, live_edges
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.evidence import Counterexample
from pytest_circuits.claims.laws import run_claim
from pytest_circuits.claims.search import climb, neighbors
from pytest_circuits.claims.statistics import Floats
from pytest_circuits.model.protocol import Model
from pytest_circuits.prompts.space import Pair, PromptSpace
from pytest_circuits.spec.slots import ChoiceSlot, WordList, WordsSlot
from pytest_circuits.spec.types import Behavior
from tests.claims.conftest import MakeBench, MakeModel
from tests.claims.test_sufficient import edges_text
from tests.known_models import BIAS_NODE, QUOTE_PATH, WEAK_PATH, Weights, merged

RUNS = {"whole model", "circuit alone", "without the circuit"}
MOST = 0.85  # of a difference
NARROW = "{pairs: 300, search: 30, controls: 39, margin: 0.2}"


def example(bench: Bench, claim: str) -> Counterexample:
    """The counterexample of a claim that has one."""
    evidence = run_claim(bench, claim)
    assert evidence.law is not None
    assert evidence.law.counterexample is not None
    return evidence.law.counterexample


@pytest.mark.parametrize(
    "missing", [("0.attn.v",), ("0.attn.v", "0.attn.resid_delta")], ids=["one", "two in a row"]
)
def test_the_nodes_that_are_missing_are_named(
    bench_of: MakeBench, missing: tuple[str, ...]
) -> None:
    kept = {hook: nodes for hook, nodes in QUOTE_PATH.items() if hook not in missing}

    found = example(bench_of(merged(kept, BIAS_NODE), protocol=NARROW), "sufficient")

    whole, alone = found.margins["whole model"], found.margins["circuit alone"]
    assert set(found.margins) == set(found.logits) == RUNS
    first = {f"{hook}[{QUOTE_PATH[hook][0]}]" for hook in missing}
    assert {cause.part for cause in found.causes[: len(missing)]} == first
    change, before = ("restored", alone) if len(missing) == 1 else ("ablated", whole)
    assert found.causes[0].change == change
    assert found.causes[0].before == pytest.approx(before, abs=1e-3)
    assert found.causes[0].share > MOST


def test_the_edge_that_is_not_listed_is_named(bench_of: MakeBench, copier: Model) -> None:
    nodes = merged(QUOTE_PATH, BIAS_NODE)
    true = list(live_edges(Nodes.of(nodes), copier))
    ends, cut = next(edge for edge in true if edge[0] == ("0.attn.act_in", "0.attn.v"))
    listed = Edges.of({e: [p for other, p in true if other == e and p != cut] for e, _ in true})

    found = example(bench_of(nodes, extra=edges_text(listed), protocol=NARROW), "sufficient")

    cause = found.causes[0]
    assert cause.part == f"{ends[0]}[{cut[0]}] -> {ends[1]}[{cut[1]}]"
    assert cause.change == "restored"
    assert cause.share > MOST


def test_the_nodes_of_a_backup_are_named(bench_of: MakeBench, make_model: MakeModel) -> None:
    found = example(bench_of(QUOTE_PATH, make_model(Weights(weak=1.5))), "necessary")

    backup = set(Nodes.of(WEAK_PATH).ids())
    assert {cause.part for cause in found.causes} <= backup
    assert len(found.causes) == 3
    assert all(cause.change == "ablated" for cause in found.causes)
    assert found.causes[0].share > MOST
    assert set(found.margins) == RUNS | {"its edges cut"}


def test_neighbors_differ_in_one_word_or_slot(bench_of: MakeBench) -> None:
    space = bench_of(QUOTE_PATH).space
    (pair,) = space.parse("x = 'alpha beta")

    near = [other.first.text for other in neighbors(space, pair)]

    assert {'name = "alpha beta', 'x = "alpha', 'x = "alpha gamma'} <= set(near)
    assert all(space.parse(text) for text in near)
    assert pair.first.text not in near


@pytest.mark.parametrize("between", ["", ";"])
def test_climbing_never_leaves_the_declared_space(between: str) -> None:
    """Without a mark between them, two slots that hold spaces can be told apart in many ways."""
    space = PromptSpace(
        Behavior(
            templates={"1": f"{{facts}}{between} {{words}} {{cue}}"},
            slots={
                "facts": ChoiceSlot(choice=("rain here", "here rain")),
                "words": WordsSlot(words=WordList(from_=("rain", "sun"), count=(1, 3))),
            },
            contrast={"cue": {"a": "b", "c": "d"}},
        )
    )
    every = {pair for pair, _ in space.enumerate()}

    near = {other for pair in every for other in neighbors(space, pair)}

    assert near <= every
    assert near == (every if between else set())


def test_climbing_finds_what_few_draws_hold_and_stays_the_same(bench_of: MakeBench) -> None:
    space = bench_of(QUOTE_PATH).space
    start = space.sample(20, seed=1)

    def omegas(pairs: Sequence[Pair]) -> Floats:
        return np.array([float(pair.first.text.count("omega")) for pair in pairs])

    first, again = (climb(space, start, omegas, tries=100, seed=1) for _ in range(2))

    assert first == again
    assert len(first) == len(set(first)) == 100
    assert omegas(first).max() >= 2 + omegas(start).max()
