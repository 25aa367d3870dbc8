"""Make a circuit hold whatever part of the rest is ablated: attack it, repair it, cut it back.

What an attack finds stays known: every circuit after it is tried against all that was found before,
and is accepted when a new attack, on other prompts, finds nothing that is too much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from pytest_circuits.circuit.edges import Edges
from pytest_circuits.circuit.nodes import Nodes, all_nodes
from pytest_circuits.circuit.rest import Part, Rest
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.claims.parts_of_rest import ATTACKED, Attack, random_parts
from pytest_circuits.prune.quality import Floats, Judge, Met
from pytest_circuits.prune.refine import Proposer, fewer_heads, remove, repair

ROUNDS = 8  # attacks at most
_DRAWN = slice(4, 28, 9)  # of the random parts: one each that ablates 20, 50 and 80 % of the rest


@dataclass(frozen=True, slots=True)
class Held:
    """A circuit, and the parts of the rest that it was tried against."""

    nodes: Nodes
    met: tuple[Met, ...]


def hold(
    judge: Judge, proposer: Proposer, nodes: Nodes, tell: Callable[[Held], None]
) -> Held | None:
    """A circuit that an attack does not break; None where it cannot be repaired, or they never end.

    tell: is given every circuit on the way.
    """
    judge.met, circuit, before = list(_random_parts(judge)), nodes, list[Nodes]()
    for number in range(ROUNDS):
        # Where nothing repairs a circuit, one may that it was cut back from.
        starts = dict.fromkeys((circuit, *reversed(before)))
        tried = (repair(judge, proposer, each) for each in starts)
        repaired = next((each for each in tried if each is not None), None)
        if repaired is None:
            return None
        before.append(repaired)
        *_, fewer = repaired, *fewer_heads(judge, repaired)
        for circuit in chain([fewer], remove(judge, proposer, fewer)):
            tell(Held(circuit, tuple(judge.met)))
        found = attacks(judge, circuit, None, number=number)
        if not found:
            return Held(circuit, tuple(judge.met))
        judge.met += found
    return None


def attacks(judge: Judge, nodes: Nodes, edges: Edges | None, *, number: int) -> list[Met]:
    """The worst parts of the rest that are found under each ablation, if they are too much.

    number: another one looks at other prompts.
    """
    found = []
    rest = Rest.of(nodes, edges, judge.runner.model)
    count = len(judge.pairs)
    pairs = [judge.pairs[(number * ATTACKED + i) % count] for i in range(min(ATTACKED, count))]
    for ablation in judge.demands.ablations:
        runner = judge.runner.under(ablation)
        attack = Attack(runner, rest, pairs)
        if ablation.kind.from_partner:
            worst = attack.worst(*_drawn(runner, rest, judge))
        else:
            worst = attack.few(judge.demands.few)
        if judge.gap(runner, rest.without(worst)) > judge.bar.max_gap:
            found.append(Met(ablation, *_of_nodes(worst, rest)))
    return found


def _drawn(runner: Runner, rest: Rest, judge: Judge) -> tuple[list[Part], Floats]:
    drawn = random_parts(rest.size, np.random.default_rng(0))[_DRAWN]
    views = [rest.without(part) for part in drawn]
    return drawn, runner.margins_many(judge.pairs[:ATTACKED], views)


def _of_nodes(part: Part, rest: Rest) -> tuple[Nodes, bool]:
    """The nodes that a part ablates, or those that it leaves, whichever are fewer."""
    off = part[: len(rest.nodes)]
    stays = bool(off.sum() * 2 > len(off))
    chosen = np.flatnonzero(~off if stays else off)
    return Nodes.gather(rest.nodes[i] for i in chosen), stays


def _random_parts(judge: Judge) -> Iterator[Met]:
    every = list(all_nodes(judge.runner.model))
    drawn = random_parts(len(every), np.random.default_rng(1))[_DRAWN]
    for ablation in judge.demands.ablations:
        for part in drawn:
            yield Met(ablation, Nodes.gather(every[i] for i in np.flatnonzero(part)), stays=False)
