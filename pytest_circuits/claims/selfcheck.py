"""The gate put to the test itself: green for what is right, red for what is wrong, by any seed.

The model is compared with itself, and a circuit of random nodes takes the place of the real one,
each under several seeds of sample, search and controls. So a specification is found out whose
verdict hangs on the seed, or whose claims hold for any nodes of the same shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.evidence import Evidence, Law, Verdict
from pytest_circuits.claims.findings import Finding, conclude
from pytest_circuits.claims.laws import run_claim
from pytest_circuits.claims.registry import CLAIMS, declared
from pytest_circuits.claims.stable.baseline import Live

SELFCHECK = "selfcheck"
_TRIES = 10  # random circuits, one of which should be another than the real one


def run_selfcheck(bench: Bench, *, seeds: int) -> Evidence:
    """Evidence that so many seeds all give the verdicts that are right."""
    reseeded = [_reseeded(bench, number) for number in range(1, seeds + 1)]
    alarms = [text for one in reseeded if (text := _alarm(one))]
    findings, measures = [_itself(alarms, seeds)], {"itself_green": float(seeds - len(alarms))}
    if bench.nodes.count:
        missed = [one.selfcheck for one in reseeded if _passes(shuffled(one))]
        findings.append(_shuffled(missed, seeds))
        measures["shuffled_red"] = float(seeds - len(missed))
    return conclude(SELFCHECK, findings, measures={"seeds": float(seeds), **measures})


def shuffled(bench: Bench) -> Bench:
    """The bench with random nodes, as many at each hook point, in place of the circuit.

    Where the circuit has every node of its hook points, there is no other one, and it stays.
    """
    seed = bench.seed + 1  # not that of the controls, the first of which it would be
    tries = bench.shuffles(_TRIES, seed=seed)
    nodes = next((other for other in tries if other != bench.nodes), bench.nodes)
    channels = {hook: list(indexes) for hook, indexes in nodes.channels}
    spec = bench.spec.model_copy(update={"nodes": channels, "edges": None})
    loaded = replace(bench.loaded, spec=spec)
    return replace(bench, loaded=loaded, nodes=nodes, edges=None, tried={}, changed={})


def _reseeded(bench: Bench, number: int) -> Bench:
    itself = Live(bench.runner)
    return replace(bench, selfcheck=number, baseline=itself, search_seed=None, tried={}, changed={})


def _alarm(bench: Bench) -> str:
    """Which claim does not hold for the model against itself, and why; empty if all do."""
    for claim in declared(bench.spec):
        evidence = run_claim(bench, claim)
        if evidence.verdict is not Verdict.PASS:
            return f"seed {bench.selfcheck}, {claim}: {evidence.reason}"
    return ""


def _passes(bench: Bench) -> bool:
    """Say whether every claim about its nodes holds; the search comes only where the rates hold."""
    claims = [claim for claim in declared(bench.spec) if CLAIMS[claim].needs_nodes]
    rates = all(CLAIMS[claim].decide(bench, Law(0)).verdict is Verdict.PASS for claim in claims)
    return rates and all(run_claim(bench, claim).verdict is Verdict.PASS for claim in claims)


def _itself(alarms: Sequence[str], seeds: int) -> Finding:
    if not alarms:
        return Finding(Verdict.PASS, f"the model against itself is green under {seeds} seeds")
    sentence = f"the model against itself is not green under {len(alarms)} of {seeds} seeds"
    return Finding(Verdict.FAIL, f"{sentence} ({alarms[0]})", "not green against itself")


def _shuffled(missed: Sequence[int], seeds: int) -> Finding:
    if not missed:
        return Finding(Verdict.PASS, f"a shuffled circuit is red under {seeds} seeds")
    which = ", ".join(map(str, missed[:5])) + ", ..." * (len(missed) > 5)
    return Finding(
        Verdict.FAIL,
        f"a shuffled circuit passes every claim about its nodes under {len(missed)} of {seeds} "
        f"seeds ({which}): what is declared cannot tell the circuit from random nodes",
        "a shuffled circuit passes",
    )
