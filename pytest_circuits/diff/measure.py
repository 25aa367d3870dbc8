"""One circuit in two models: everything that tells what an update did to it, measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_circuits.circuit.calibration import shift_of
from pytest_circuits.circuit.edges import Edges, edges_of, live_edges
from pytest_circuits.circuit.margin import margin_of
from pytest_circuits.circuit.matching import Match
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.scope import in_scope
from pytest_circuits.circuit.view import WHOLE
from pytest_circuits.claims.bench import EPS, Bench
from pytest_circuits.claims.readdress import find_again, place_in
from pytest_circuits.claims.sample import Sample
from pytest_circuits.claims.stable.baseline import check_tokenizer, facts
from pytest_circuits.claims.stable.comparison import Comparison, compare
from pytest_circuits.claims.stable.observation import Observation, observe
from pytest_circuits.claims.stable.observed import observed_prompts, sample_of
from pytest_circuits.claims.statistics import Floats
from pytest_circuits.model.protocol import Model, widths_of
from pytest_circuits.model.reference_file import load_reference
from pytest_circuits.prompts.space import Pair
from pytest_circuits.spec.load import LoadedSpec


@dataclass(frozen=True, slots=True)
class Side:
    """A circuit in one model.

    alone, without: rates at which the answer is preferred. separation: nats that the circuit alone
    tells the prompts of a pair apart by. effects: [nodes], nats that each adds in the whole model.
    """

    alone: float
    without: float
    separation: float
    effects: Floats


@dataclass(frozen=True, slots=True)
class Placed:
    """The candidate's side at some addresses, and how it compares with the side before."""

    side: Side
    seen: Comparison


@dataclass(frozen=True, slots=True)
class Measured:
    """A circuit before and after an update.

    behaves: rates of the whole models, before and after. stayed: at the addresses that the
    specification names; None where the candidate has not got these. found: where the candidate's
    nodes are most alike, of which `match` tells the addresses, if these are others.
    """

    loaded: LoadedSpec
    hook_points: tuple[str, ...]  # of the model before, in forward order
    node_ids: tuple[str, ...]
    edges: Edges  # the weights between its nodes that count
    behaves: tuple[float, float]
    before: Side
    stayed: Placed | None
    match: Match
    found: Placed | None


def measure(bench: Bench, candidate: Model) -> Measured:
    """Measure the circuit on a bench in its model and in another one, on the same prompts.

    Raises ModelError when the same prompts are other tokens in the two models, or when one of them
    has no reference.
    """
    loaded, base = bench.loaded, bench.model
    check_tokenizer(candidate, facts(base), what=f"the model {base.path}")
    here = bench.runner
    reference, candidate = load_reference(candidate), in_scope(loaded.spec, candidate)
    there = Runner(candidate, reference, here.ablation)
    prompts, sample, alpha = observed_prompts(bench), sample_of(bench), loaded.spec.protocol.alpha
    margin = margin_of(loaded.spec.protocol, there, prompts.rates)  # as `stable`
    before = observe(here, bench.place, prompts)
    stayed = None
    if widths_of(base) == widths_of(candidate):
        after = observe(there, bench.place, prompts, probes=before.probes)
        seen = compare(before, after, sample, alpha=alpha, margin=margin)
        stayed = Placed(_side(after, sample), seen)
    match, found = find_again(loaded, candidate, base), None
    if match.moved:
        edges, shift = match.edges(edges_of(loaded.spec)), shift_of(loaded.spec)
        place = place_in(match, edges, shift, here=base, there=candidate)
        after = observe(there, place, prompts, probes=Nodes.of({}))
        seen = compare(before, after, sample, alpha=alpha, margin=margin, same_probes=False)
        found = Placed(_side(after, sample), seen)
    return Measured(
        loaded=loaded,
        hook_points=tuple(base.sites),
        edges=live_edges(bench.nodes, base, bench.edges),
        node_ids=tuple(bench.nodes.ids()),
        behaves=(_rate(here, prompts.rates, sample), _rate(there, prompts.rates, sample)),
        before=_side(before, sample),
        stayed=stayed,
        match=match,
        found=found,
    )


def _side(found: Observation, sample: Sample) -> Side:
    alone, without = (
        sample.rate(margins > EPS, alpha=0.5).estimate for margins in (found.alone, found.without)
    )
    separation = sample.average(found.alone)
    return Side(alone, without, separation, found.effects)


def _rate(runner: Runner, pairs: Sequence[Pair], sample: Sample) -> float:
    return sample.rate(runner.margins(pairs, WHOLE) > EPS, alpha=0.5).estimate
