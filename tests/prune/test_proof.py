"""Where nodes are few, every smaller circuit is tried, and what is told of them is so."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

pytest.importorskip("transformers", reason="needs the extra: pip install 'pytest-circuits[hf]'")

from pytest_circuits.circuit.nodes import Node, Nodes, all_nodes, in_forward_order
from pytest_circuits.cli import main
from pytest_circuits.model.open import load_model
from pytest_circuits.model.reference_file import load_reference
from pytest_circuits.prune.judge import Judge
from pytest_circuits.prune.plan import Method, PrunePlan
from pytest_circuits.prune.proof import Proof, afforded, all_smaller, costs
from pytest_circuits.prune.refine import exchange, remove
from pytest_circuits.prune.search import find_circuits, proved, smallest
from pytest_circuits.prune.stages import Case
from pytest_circuits.prune.subject import NotFoundError, Subject
from pytest_circuits.spec.load import load_spec, parse_spec
from tests.huggingface.side import CIRCUIT, PAIR, reference_text, spec, write

TWIN = 3  # a head of the last layer that does what the circuit's does
KNOWN = Nodes.of({name: tuple(some) for name, some in CIRCUIT.items()})
BOTH = [("1.attn.head", PAIR[1]), ("1.attn.head", TWIN)]
PLAN = PrunePlan(method=Method.ATTRIBUTION, evaluation_pairs=16, controls=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with one circuit, and one with a second head that does as its last does."""
    top = tmp_path_factory.mktemp("few")
    text = reference_text(top / "text")
    for path in (write(top / "model"), write(top / "twins", twin=TWIN)):
        done = CliRunner().invoke(main, ["reference", str(path), "--text", str(text)])
        assert done.exit_code == 0, done.output
    return top


def subject_of(folder: Path, name: str, plan: PrunePlan) -> Subject:
    # At the partner's value a twin undoes what the other does; at the mean it does nothing.
    ablation = "mean" if name == "twins" else "contrast"
    said = spec().replace("../model", f"../{name}").replace("[mean, contrast]", ablation)
    loaded = parse_spec(said, path=folder / "circuits" / "side.circuit.yaml")
    model = load_model(folder / name)
    return Subject.of(loaded.spec, model, load_reference(model), plan)


def proof_of(judge: Judge, nodes: Sequence[Node], **asked: Any) -> Proof:  # noqa: ANN401
    told: list[int] = []
    found = all_smaller(judge, nodes, tell=told.append, **asked)
    assert told[-1:] == ([found.tried] if found.tried else [])
    return found


def test_it_finds_what_asking_each_circuit_finds(folder: Path) -> None:
    plan = PLAN.sufficient_only()
    judge = subject_of(folder, "twins", plan).judge
    some: list[Node] = [("0.attn.head", 5), *BOTH, ("0.attn.head", 1), ("1.attn.head", 0)]
    pairs = [Nodes.gather(two) for two in combinations(some, 2)]
    good = [nodes for nodes in pairs if judge.reaches((nodes, None))]
    assert good == [Nodes.gather([some[0], other]) for other in BOTH]

    found = proof_of(judge, some, of=4, equals=False, most=100)

    assert not any(judge.reaches((Nodes.gather([node]), None)) for node in some)
    assert (found.below, found.tried, found.equals) == (2, 5 + 10, 2)
    assert found.best in good
    assert found.common == Nodes.gather([some[0]])


def test_a_priced_node_counts_as_five_of_those_that_are_tried(folder: Path) -> None:
    judge = subject_of(folder, "twins", PLAN.sufficient_only()).judge
    some: list[Node] = [("0.attn.head", 5), *BOTH, ("0.attn.head", 1), ("1.attn.head", 0)]
    asked = {"of": 7, "equals": False, "most": 100}

    for dear, other in (BOTH, BOTH[::-1]):
        found = proof_of(judge, some, priced={dear}, **asked)
        assert (found.below, found.tried, found.equals) == (2, 4 + 6, 1)
        assert found.best == Nodes.gather([some[0], other])

    found = proof_of(judge, some, priced=set(BOTH), **asked)
    assert found.tried == costs(5, 7, priced=2) == afforded(5, 7, 100, priced=2) == 7 + 2 + 2 * 3
    assert (found.below, found.equals) == (6, 2), "none of 7 without them, none of 2 alone"


def test_a_known_circuit_does_not_take_the_place_of_a_rival_that_is_larger(folder: Path) -> None:
    subject = subject_of(folder, "twins", PLAN.sufficient_only())
    (dear, twin), nothing = BOTH, Nodes.of({})
    rival = Nodes.gather([("0.attn.head", PAIR[0]), twin])
    larger = Nodes.gather([*rival, ("1.attn.head", 0)])
    reference = load_reference(subject.model)
    case = Case.of(subject, reference, PLAN, None, forbidden=nothing, priced=Nodes.gather([dear]))

    proof = case.run(proved, larger)

    assert (proof.of, proof.below, proof.best) == (3, 2, rival)
    assert (proof.equals, proof.tried) == (1, costs(32, 3, priced=1)) == (1, 31 + 465)
    assert case.run(smallest, [KNOWN, larger]) == larger, "three nodes, and no known one"


def test_of_two_heads_that_do_the_same_the_priced_one_goes(folder: Path) -> None:
    subject = subject_of(folder, "twins", PLAN.sufficient_only())
    both = Nodes.gather([("0.attn.head", PAIR[0]), *BOTH])
    for dear, other in (BOTH, BOTH[::-1]):
        proposer = subject.proposer.at_prices_of(frozenset([dear]))
        *_, left = remove(subject.judge, proposer, both)
        assert left == both.without(*dear)
        assert proposer.cost(both) == proposer.cost(left) + 5
        (better,) = exchange(subject.judge, proposer, both.without(*other), rounds=1)
        assert better == left


def test_a_head_that_does_as_another_does_is_its_rival(folder: Path) -> None:
    path = folder / "circuits" / "twins.circuit.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(spec().replace("../model", "../twins").replace("[mean, contrast]", "mean"))
    asked = ["--rivals", "--sufficient-only", "--no-controls"]

    done = CliRunner().invoke(main, ["prune", str(path), *asked])

    assert done.exit_code == 0, done.output
    found = load_spec(path).spec
    rival = found.found_by["rival_1"]
    assert (found.found_by["method"], found.rivals) == ("attribution", 1)
    assert isinstance(rival, dict)
    assert found.nodes["0.attn.head"] == rival["0.attn.head"] == (PAIR[0],)
    assert sorted(found.nodes["1.attn.head"] + rival["1.attn.head"]) == sorted([PAIR[1], TWIN])
    assert "no more rivals: the next one shares" in done.output


def test_of_two_heads_that_do_the_same_neither_is_in_all(folder: Path) -> None:
    plan = PrunePlan(
        method=Method.ATTRIBUTION, evaluation_pairs=16, controls=False, certify=True
    ).sufficient_only()
    subject = subject_of(folder, "twins", plan)
    (found,) = find_circuits([subject], load_reference(subject.model), plan)

    assert not isinstance(found, NotFoundError)
    assert found.nodes.count == 2
    assert found.proof is not None
    assert found.proof.common == Nodes.of({"0.attn.head": [PAIR[0]]})
    assert found.proof.equals == 2
    assert "and 2 of 2 are, which have 1 in common: all 528 were tried" in str(found.proof)


def test_a_circuit_that_is_not_the_smallest_is_replaced_by_it(folder: Path) -> None:
    judge = subject_of(folder, "model", PLAN).judge
    every = in_forward_order(all_nodes(judge.runner.model), judge.runner.model)

    found = proof_of(judge, every, of=3, equals=False, most=528)
    assert found == Proof(3, 2, 528, KNOWN, 1, KNOWN)
    assert found.told() == {
        "none_below_nodes": 2,
        "circuits_tried": 528,
        "equally_small": 1,
        "in_all": dict(KNOWN.channels),
    }

    assert proof_of(judge, every, of=3, equals=False, most=527) == Proof(3, 2, 32)
    assert proof_of(judge, every, of=2, equals=False, most=527) == Proof(2, 2, 32)
    assert proof_of(judge, every, of=2, equals=False, most=31) == Proof(2, 1, 0)
    assert costs(len(every), 3) == 528


def test_a_size_that_cannot_be_ended_is_not_begun() -> None:
    assert afforded(32, 3, most=528) == costs(32, 3) == 528
    assert afforded(32, 3, most=527) == 32
    assert afforded(32, 3, most=31) == 0


@pytest.mark.parametrize(
    ("proof", "told"),
    [
        (Proof(2, 2, 32), "no circuit of fewer than 2 nodes is good enough: all 32 were tried"),
        (
            Proof(3, 2, 32),
            (
                "no circuit of fewer than 2 nodes is good enough: all 32 were tried; of those of 2 "
                "there are too many to be tried"
            ),
        ),
        (
            Proof(3, 2, 528, KNOWN, 1, KNOWN),
            "no circuit of fewer than 2 nodes is good enough, and one of 2 is: all 528 were tried",
        ),
        (Proof(4, 1, 0), "smaller circuits are too many to be tried"),
    ],
)
def test_what_is_told(proof: Proof, told: str) -> None:
    assert str(proof) == told


def test_the_command_ranks_where_nodes_are_few_and_says_what_it_knows(folder: Path) -> None:
    path = folder / "circuits" / "side.circuit.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(spec().replace("[mean, contrast]", "contrast"))

    done = CliRunner().invoke(main, ["prune", str(path), "--certify"])

    assert done.exit_code == 0, done.output
    assert "no circuit of fewer than 2 nodes is good enough" in done.output
    found = load_spec(path).spec
    assert Nodes.of(found.nodes) == KNOWN
    assert found.found_by["method"] == "attribution"
    assert found.found_by["none_below_nodes"] == 2
    assert found.found_by["in_all"] == dict(KNOWN.channels)
    assert "certified: 2 of 2 nodes, needed even where" in done.output
    assert found.found_by["certified_nodes"] == 2
    assert found.found_by["clearly_better_than_controls"] is True
    assert "steps" not in found.found_by
