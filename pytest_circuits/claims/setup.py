"""Putting a circuit on the bench: with its model, its reference and what it is compared with."""

from __future__ import annotations

from pytest_circuits.circuit.edges import edges_of
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.claims.bench import CHECKED_PAIRS, Bench, Pruner
from pytest_circuits.claims.others import load_others
from pytest_circuits.claims.stable.baseline import Live, Recorded, check_comparable, facts
from pytest_circuits.claims.stable.observed import check_recorded
from pytest_circuits.model.protocol import Model
from pytest_circuits.model.reference_file import load_reference
from pytest_circuits.spec.load import LoadedSpec


def make_bench(
    loaded: LoadedSpec,
    model: Model,
    *,
    baseline: Recorded | Model | None = None,
    search_seed: int | None = None,
    beside: LoadedSpec | None = None,
    pruner: Pruner | None = None,
) -> Bench:
    """The bench of one circuit in one model.

    baseline: a baseline file's content, another model, or None for no baseline.
    search_seed: what `--hypothesis-seed` gave; without it the specification decides.
    pruner: prunes the circuit anew, where `stable` asks for its structure.
    beside: the specification beside which other ones lie that are named; None: this one.

    Raises ModelError when the model has no reference or cannot be compared with the baseline, and
    BaselineError when the baseline was recorded for something else, SpecError when another
    specification that this one names cannot be used.
    """
    ablation = loaded.spec.ablation
    runner = Runner(model, load_reference(model), ablation)
    nodes, edges = Nodes.of(loaded.spec.nodes), edges_of(loaded.spec)
    others = load_others(beside or loaded)
    if baseline is None or isinstance(baseline, Recorded):
        bench = Bench(loaded, runner, nodes, edges, baseline, search_seed, pruner, others)
        if baseline is not None:
            check_recorded(bench, baseline)
            check_comparable(model, baseline.model, what="the recorded baseline")
        _announce(bench, runner)
        return bench
    check_comparable(model, facts(baseline), what=f"the baseline model {baseline.path}")
    live = Live(Runner(baseline, load_reference(baseline), ablation))
    bench = Bench(loaded, runner, nodes, edges, live, search_seed, pruner, others)
    _announce(bench, runner, live.runner)
    return bench


def _announce(bench: Bench, *runners: Runner) -> None:
    """Tell runners how much the claims ask of the circuit alone: at least all of the sample."""
    for runner in runners:
        runner.expect(
            bench.circuit,
            prompts=2 * len(bench.sample.pairs),
            check=bench.sample.few(CHECKED_PAIRS, seed=bench.seed),
        )
