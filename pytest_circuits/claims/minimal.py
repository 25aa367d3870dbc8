"""`minimal`: each node and each listed edge of the circuit earns its place.

Shi et al. 2024, section 3.3: taking a part out of the circuit has to change more than adding a
random one to it does. What their code leaves open is decided here: a part is shown to be needed by
an exact bound of its own, and named as not needed under Holm's correction for all parts.

A part that changes nothing where the circuit runs alone may still be there for another claim. It is
needed as well where leaving it out breaks one that is declared: what is left without the rest of
the circuit still has the behavior, or it does badly as a part of the rest is ablated, or it no
longer runs as the whole model does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pytest_circuits.circuit.divided import nodes_of
from pytest_circuits.circuit.edges import count_edges, edges_of
from pytest_circuits.circuit.random_circuits import random_additions, with_node
from pytest_circuits.circuit.view import View
from pytest_circuits.claims import statistics
from pytest_circuits.claims.bench import CONTROL_PAIRS, EPS, Bench
from pytest_circuits.claims.card import Claim, Ranked, limits_of, run_of
from pytest_circuits.claims.circuit_parts import Part, breaking, parts_of
from pytest_circuits.claims.cost import Cost, Situation
from pytest_circuits.claims.evidence import Evidence, Law, Verdict, Worst, percent
from pytest_circuits.claims.findings import Finding, conclude, confidence, not_finite, some
from pytest_circuits.claims.parts_of_rest import GAP_PAIRS
from pytest_circuits.claims.statistics import Floats, softplus
from pytest_circuits.claims.worst import worst_of
from pytest_circuits.model.protocol import Wired
from pytest_circuits.spec.types import MinimalClaim

PAIRS = 4  # on which parts are taken out and random ones added
SLACK = 0.01  # nats, by which the task loss of a smaller circuit that is offered may be higher
_DOUBTFUL = 12  # parts at most, of a circuit that is near to minimal
_SHOWN = 6  # parts that a sentence names


def _decide(bench: Bench, law: Law) -> Evidence:
    limits, alpha = limits_of(bench.spec, MinimalClaim), bench.spec.protocol.alpha
    if not bench.nodes.count:
        return conclude("minimal", [Finding(Verdict.FAIL, "the circuit has no nodes")], law=law)
    random_nodes = random_additions(
        bench.nodes,
        bench.model,
        bench.runner.reference,
        count=bench.spec.protocol.controls,
        rng=bench.random(stream=6),
    )
    if full := [kind for kind, several in random_nodes.items() if not several]:
        text = (
            f"outside of the circuit no node of the kind {' or '.join(full)} varies over the "
            "reference text: there is nothing to compare its own with (a smaller circuit)"
        )
        found = Finding(Verdict.INCONCLUSIVE, text, "nothing to compare its nodes with")
        return conclude("minimal", [found], law=law)
    parts = parts_of(bench.nodes, bench.edges, bench.model.sites)
    views = [View.circuit(*part.taken_from(bench.nodes, bench.edges)) for part in parts]
    effects, p = np.zeros(len(parts)), np.zeros(len(parts))
    shown, largest = np.zeros(len(parts), dtype=np.bool_), []
    for each in bench.each:
        own, taken = _margins(each, [each.plain]), _margins(each, views)
        added = _added(each, random_nodes)
        if broken := not_finite("minimal", law, circuit_alone=own[0], parts_out=taken, **added):
            return broken
        here = np.abs(taken - own).mean(axis=(1, 2))  # [parts]
        random = {kind: np.abs(margins - own).mean(axis=(1, 2)) for kind, margins in added.items()}
        outdone = [
            random[part.kind] < effect - EPS for part, effect in zip(parts, here, strict=True)
        ]
        few = [statistics.share_p(int(o.sum()), len(o), limits.quantile) for o in outdone]
        # It may be shown under any of them, which each get their part of the risk.
        risk = alpha / len(bench.each)
        rates = [statistics.at_least(statistics.rate(o, risk), limits.quantile) for o in outdone]
        effects, p = np.maximum(effects, here), np.maximum(p, few)
        shown |= np.array([rate is Verdict.PASS for rate in rates])
        largest.append(np.quantile(np.concatenate([*random.values()]), limits.quantile))
    for_others = np.zeros(len(parts), dtype=np.bool_)
    doubtful = np.flatnonzero(~shown)
    for_others[doubtful] = breaking(bench, [parts[i] for i in doubtful])
    surplus = statistics.holm(p, alpha) & ~for_others
    shown |= for_others
    order = np.argsort(effects, kind="stable")
    unneeded = [parts[i] for i in order if surplus[i]]
    unsure = [parts[i] for i in order if not surplus[i] and not shown[i]]
    finding, smaller = _finding(bench, parts, unneeded, unsure, int(for_others.sum()))
    measures = {
        "effect_least": float(effects.min()),
        "parts": float(len(parts)),
        "parts_for_other_claims": float(for_others.sum()),
        "parts_not_needed": float(len(unneeded)),
        "parts_not_shown": float(len(unsure)),
        "random_effect": float(max(largest)),
        **smaller,
    }
    evidence = conclude("minimal", [finding], measures=measures)
    suspects = [*unneeded, *unsure]
    return replace(evidence, worst=_worst(bench, suspects[0])) if suspects else evidence


def _worst(bench: Bench, part: Part) -> Worst:
    """The prompts at which the part that is needed least changes least."""
    sample, runs = bench.sample.only_few(PAIRS, seed=bench.seed), []
    for each in bench.each:
        view = View.circuit(*part.taken_from(bench.nodes, bench.edges))
        runs += [
            run_of(each.runner, each.plain, name=each.named("circuit alone")),
            run_of(each.runner, view, name=each.named(f"circuit without {part.name}")),
        ]
    margins = np.stack([run.margins(sample.pairs) for run in runs])  # [2 * ablations, n, 2]
    change = np.abs(margins[::2] - margins[1::2]).max(axis=0)
    where = f"taking {part.name} out of the circuit changes least"
    return worst_of(Ranked(where, sample, -change, tuple(runs)))


def _margins(bench: Bench, views: Sequence[View]) -> Floats:
    return bench.runner.margins_many(bench.sample.few(PAIRS, seed=bench.seed), views)


def _added(bench: Bench, added: dict[str, list[tuple[str, int]]]) -> dict[str, Floats]:
    """Margins [K, n, 2] of the circuit with one of these nodes more, by the node's kind."""
    views = [
        View.circuit(*with_node(bench.nodes, bench.edges, node, bench.model))
        for several in added.values()
        for node in several
    ]
    ends = np.cumsum([len(several) for several in added.values()])[:-1]
    return dict(zip(added, np.split(_margins(bench, views), ends), strict=True))


def _finding(
    bench: Bench,
    parts: Sequence[Part],
    unneeded: Sequence[Part],
    unsure: Sequence[Part],
    others: int,
) -> tuple[Finding, dict[str, float | None]]:
    bar = f"{percent(limits_of(bench.spec, MinimalClaim).quantile)} of random nodes that are added"
    if unneeded:
        offer, measures = _smaller(bench, unneeded)
        text = (
            f"taking out {len(unneeded)} of {len(parts)} parts changes no more than {bar} do: "
            f"{some([part.name for part in unneeded], _SHOWN)}; {offer}"
        )
        return Finding(Verdict.FAIL, text, f"{len(unneeded)} parts are not needed"), measures
    if unsure:
        text = (
            f"taking out {len(unsure)} of {len(parts)} parts is not shown to change more than "
            f"{bar} do: {some([part.name for part in unsure], _SHOWN)} (undecided: more "
            "protocol.controls)"
        )
        why = f"{len(unsure)} parts are not shown to be needed"
        return Finding(Verdict.INCONCLUSIVE, text, why), {}
    sure = confidence(bench.spec.protocol.alpha)
    text = f"taking out any of {len(parts)} parts changes more than {bar} do ({sure} for each)"
    if others:
        text += f", or breaks another claim ({others} of them)"
    return Finding(Verdict.PASS, text), {}


def _smaller(bench: Bench, unneeded: Sequence[Part]) -> tuple[str, dict[str, float | None]]:
    """The smallest circuit that does as well without some of these parts, least needed first."""
    circuits = [(bench.nodes, bench.edges)]
    for part in unneeded:
        circuits.append(part.taken_from(*circuits[-1]))
    margins = bench.runner.margins_many(
        bench.control_pairs, [View.circuit(*circuit) for circuit in circuits]
    )
    losses = softplus(margins).mean(axis=(1, 2))
    last = max(np.flatnonzero(losses <= losses[0] + SLACK).tolist())
    if not last:
        return "none of them can go alone without loss", {}
    nodes, edges = circuits[last]
    every = "it" if len(unneeded) == 1 else "them"
    which = every if last == len(unneeded) else f"the first {last}"
    text = (
        f"without {which} {nodes.count} nodes and {count_edges(nodes, bench.model, edges)} edges "
        f"are left, with a task loss of {losses[last]:.3g} nats (now {losses[0]:.3g})"
    )
    return text, {"smaller_nodes": float(nodes.count), "smaller_task_loss": float(losses[last])}


def _cost(situation: Situation) -> Cost | None:
    nodes, edges = nodes_of(situation.spec), edges_of(situation.spec)
    if not nodes.count:  # they are still to be found
        return None
    parts = nodes.count + (edges.count if edges else 0)
    sites = situation.model.sites if situation.model else {}
    kinds = {sites[name].point if name in sites else name for name in nodes.shape}
    random = len(kinds) * situation.spec.protocol.controls
    offered = 2 * CONTROL_PAIRS * (parts + 1)  # smaller circuits, where parts are not needed
    alone = situation.under_each(2 * PAIRS * (1 + parts + random), views=1 + parts + random)
    wired, faithful = isinstance(situation.model, Wired | None), situation.spec.claims.faithful
    others = (1 + wired) * bool(situation.spec.claims.necessary) + bool(faithful)
    seen = 2 * GAP_PAIRS * situation.groups * 3 * (1 + parts) * bool(faithful)
    broken = others * situation.under_each(
        2 * GAP_PAIRS * situation.groups * (1 + parts), views=1 + parts
    )
    # Of the few that are in doubt then, what the own prompts show, and an attack on the rest.
    doubtful = _DOUBTFUL * (bool(situation.spec.claims.necessary) + 2 * bool(faithful))
    shown = situation.under_each(doubtful * situation.prompts, views=doubtful)
    return Cost(own=alone + offered + broken + seen + shown)


MINIMAL = Claim(
    "minimal",
    "each node and each listed edge of the circuit earns its place",
    _decide,
    _cost,  # no law: it is about the circuit's parts, and not about any one prompt
    tier="beyond",
)
