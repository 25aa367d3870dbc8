"""Make a circuit hold whatever part of the rest is ablated: attack it, repair it, cut it back.

What an attack finds stays known: every circuit after it is tried against all that was found before,
and is accepted when a new attack, on other prompts, finds nothing that is too much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from pytest_circuits.circuit.edges import Edges
from pytest_circuits.circuit.nodes import Nodes, all_nodes
from pytest_circuits.circuit.rest import Part, Rest
from pytest_circuits.claims.parts_of_rest import ATTACKED, PER_FRACTION, Attack, random_parts
from pytest_circuits.prune.alone import LARGEST
from pytest_circuits.prune.judge import Judge
from pytest_circuits.prune.met import Met, Portion
from pytest_circuits.prune.quality import Floats
from pytest_circuits.prune.refine import Proposer, fewer_heads, remove, repair

ROUNDS = 48  # of attack, and of repair or cut, at most
_CLOSING = 12  # rounds after these, in which nothing is cut any more
_BROKE = 10  # cuts of a node or two that were too deep: after so many none is cut any more
_DEEPEST = 0.5  # share of the nodes that a cut takes away; after one that was too deep, half of it
_ATTACKS = 2  # of a round, under each ablation; each looks at other prompts
LAST = 6  # as many, of a circuit that is going to stay
_ATTACKED = 2 * ATTACKED  # pairs, so that what hurts a few of them by chance is not taken for much
# A new part may cost more than a known one, or each repair would ask for another: so much of what
# the claim allows, and so many times as many prompts.
_NEW = 0.98
_SLACK = 1.15
_HALF = slice(12, 15)  # of the random parts, those that ablate 50 % of the rest


@dataclass(frozen=True, slots=True)
class Held:
    """A circuit, and the parts of the rest that it was tried against."""

    nodes: Nodes
    met: tuple[Met, ...]


def hold(
    judge: Judge,
    proposer: Proposer,
    nodes: Nodes,
    tell: Callable[[Held], None],
    *,
    met: Sequence[Met] = (),
) -> Held | None:
    """A circuit that an attack does not break, and no smaller one that is tried from there.

    A circuit is repaired until it holds, then cut back step by step, and each step is attacked. One
    that breaks is taken back, and what broke it is known from there on. None where nothing repairs
    a circuit, or attacks never end. tell: is given every circuit that holds. met: what is known of
    it from before.
    """
    judge.met, circuit, before = list(met or _random_parts(judge)), nodes, list[Nodes]()
    if nodes.count > LARGEST:  # no mask that has learnt to bear parts: most of it has to go anyhow
        circuit = _cut(judge, proposer, repair(judge, proposer, nodes) or nodes, 1.0)
    held: Held | None = None
    depth, broke = _DEEPEST, 0
    for number in range(ROUNDS + _CLOSING):
        # Where nothing repairs a circuit, one may that it was cut back from.
        starts = dict.fromkeys((circuit, *reversed(before)))
        repaired = (repair(judge, proposer, each) for each in starts)
        tried = next((each for each in repaired if each is not None), None)
        if tried is None:
            return None
        circuit, closing = tried, number >= ROUNDS or broke >= _BROKE
        cut = held is not None and tried == held.nodes and not closing
        if cut:
            tried = _cut(judge, proposer, circuit, depth)
        last = closing or (cut and tried == circuit)
        found = attacks(judge, tried, None, number=number, attempts=LAST if last else _ATTACKS)
        judge.met += found
        if not found:
            circuit, held = tried, Held(tried, tuple(judge.met))
            if last:
                return held
            before.append(tried)
            tell(held)
            depth = min(_DEEPEST, 2 * depth)
        elif cut:
            depth /= 2
            broke += circuit.count - tried.count <= 2
    return None


def _cut(judge: Judge, proposer: Proposer, nodes: Nodes, depth: float) -> Nodes:
    """A circuit without some share of its nodes, or without as many as are not missed."""
    few = max(1, round(depth * nodes.count))
    *_, fewer = nodes, *fewer_heads(judge, nodes)
    smaller = fewer
    if nodes.count - fewer.count < few:
        for smaller in remove(judge, proposer, fewer, at_once=few):
            if nodes.count - smaller.count >= few:
                break
    return smaller


def attacks(
    judge: Judge, nodes: Nodes, edges: Edges | None, *, number: int, attempts: int = _ATTACKS
) -> list[Met]:
    """The worst parts of the rest that are found under each ablation, if they are too much.

    Of random parts too, of which a claim looks at as many, and takes the mean for each size.

    number: another one looks at other prompts.
    """
    found, bar = dict[Met, None](), judge.bar
    most = _NEW * (judge.demands.max_gap or inf)
    bar = replace(bar, max_gap=most, min_rate=1 - _SLACK * (1 - bar.min_rate))
    rest = Rest.of(nodes, edges, judge.runner.model)
    for attempt in range(attempts):
        order = np.random.default_rng([number, attempt]).permutation(len(judge.pairs))
        pairs = [judge.pairs[i] for i in order[:_ATTACKED]]
        for ablation in judge.demands.ablations:
            runner = judge.runner.under(ablation)
            attack = Attack(runner, rest, pairs)
            drawn = random_parts(rest.size, np.random.default_rng([number, attempt]))
            margins = runner.margins_many(pairs, [rest.without(part) for part in drawn])
            if ablation.kind.from_partner:
                worst = attack.worst(drawn, margins)
            else:
                worst = attack.few(judge.demands.few)
            for some in ([worst], _costliest(drawn, margins)):
                if not judge.beside(runner, [rest.without(part) for part in some]).reaches(bar):
                    found[Met(ablation, tuple(Portion.of(part, rest) for part in some))] = None
    return [*found]


def _costliest(drawn: Sequence[Part], margins: Floats) -> Sequence[Part]:
    """Of random parts, with their margins, those of the size that costs most in the mean."""
    by_size = np.logaddexp(0, -margins).reshape(-1, PER_FRACTION, *margins.shape[1:])
    first = PER_FRACTION * int(np.argmax(by_size.mean(axis=(1, 2, 3))))
    return drawn[first : first + PER_FRACTION]


def _random_parts(judge: Judge) -> Iterator[Met]:
    """Random parts of one size, under each ablation: with them a search begins."""
    every = list(all_nodes(judge.runner.model))
    drawn = random_parts(len(every), np.random.default_rng(1))[_HALF]
    some = [Nodes.gather(every[i] for i in np.flatnonzero(part)) for part in drawn]
    for ablation in judge.demands.ablations:
        yield Met(ablation, tuple(Portion(nodes, stays=False) for nodes in some))
