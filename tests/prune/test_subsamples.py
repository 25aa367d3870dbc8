"""Which nodes of a circuit are needed whatever a few of the prompts are."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_circuits.circuit.nodes import Nodes, all_nodes
from pytest_circuits.prune.subsamples import Certified, certified, radius_of
from tests.known_models import two_hop_lookup
from tests.prune.conftest import Known


def test_every_node_of_a_known_circuit_is_certified_and_an_idle_one_abstains(
    known: Callable[..., Known],
) -> None:
    case = known(two_hop_lookup(0))
    judge, nodes = case.subject.judge, set(case.nodes)
    idle = next(
        node
        for node in all_nodes(case.subject.model)
        if node not in nodes and judge.reaches((Nodes.gather({*nodes, node}), None))
    )

    found = certified(judge, Nodes.gather({*nodes, idle}))

    assert [*found.abstained] == [idle]
    assert found.radius == 2  # of 32 pairs, 8 in a subsample
    assert found.told()["certified_nodes"] == len(nodes)


def test_the_same_subsamples_are_asked_again(known: Callable[..., Known]) -> None:
    case = known(two_hop_lookup(0))
    assert certified(case.subject.judge, case.nodes) == certified(case.subject.judge, case.nodes)


@pytest.mark.parametrize("chance", [0.1, 0.25, 0.4])
@pytest.mark.parametrize("decisive", range(1, 65))
def test_the_radius_is_never_more_than_what_is_true(decisive: int, chance: float) -> None:
    """Of two questions of which it is known how the answers change."""
    out = 1 - chance
    any_there, none_there = 1 - out**decisive, out**decisive
    taken, added = radius_of(any_there, chance), radius_of(none_there, chance)
    assert 1 - out ** (decisive - taken) >= 0.5 - 1e-9 or not taken
    assert out ** (decisive + added) >= 0.5 - 1e-9 or not added


def test_no_share_that_is_no_majority_has_a_radius() -> None:
    assert [radius_of(share, 0.1) for share in (0.0, 0.5, 0.59, 0.61, 1.0)] == [0, 0, 0, 1, 6]


@pytest.mark.parametrize(
    ("radii", "told"),
    [
        ((6, 5), "certified: 2 of 2 nodes, needed even where 5 pairs of the 64 are others"),
        (
            (1, 0),
            "certified: 1 of 2 nodes, needed even where 1 pair of the 64 is another; "  # noqa: ISC004
            "not by enough of 1,000 subsamples: 1.attn.head[3]",
        ),
        (
            (0, 0),
            "certified: no node; not by enough of 1,000 subsamples: 0.attn.head[2], 1.attn.head[3]",
        ),
    ],
)
def test_what_is_told(radii: tuple[int, int], told: str) -> None:
    nodes = Nodes.of({"0.attn.head": (2,), "1.attn.head": (3,)})
    assert str(Certified(nodes, radii, pairs=64)) == told
