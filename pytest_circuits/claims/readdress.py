"""A circuit found again in a model that has other addresses for its nodes, and put on the bench."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pytest_circuits.circuit.attention import Head, kept_heads, shows_attention
from pytest_circuits.circuit.calibration import shift_of
from pytest_circuits.circuit.divided import nodes_of
from pytest_circuits.circuit.edges import Edges, edges_of
from pytest_circuits.circuit.matching import MATCH_PAIRS, Match, match_nodes
from pytest_circuits.circuit.nodes import Nodes, grouped
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.scope import in_scope
from pytest_circuits.circuit.view import Shift
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.sample import draw_sample
from pytest_circuits.claims.stable.baseline import Live, check_tokenizer, facts
from pytest_circuits.claims.stable.observation import Place
from pytest_circuits.model.protocol import Kind, Model, undivided
from pytest_circuits.model.reference_file import load_reference
from pytest_circuits.prompts.space import PromptSpace
from pytest_circuits.spec.load import LoadedSpec
from pytest_circuits.spec.places import site_of, undivide
from pytest_circuits.spec.types import FoundBy, Spec


def find_again(loaded: LoadedSpec, candidate: Model, base: Model) -> Match:
    """Where the circuit of a specification, which is about `base`, is in the candidate.

    Raises ModelError when the two have other tokenizers, or the candidate no such hook points.
    """
    check_tokenizer(candidate, facts(base), what=f"the model {base.path}")
    here, there = (
        Runner(
            undivided(in_scope(loaded.spec, model)),
            load_reference(model),
            loaded.spec.ablations[0],
        )
        for model in (base, candidate)
    )
    seed, space = loaded.seed, PromptSpace(loaded.spec.behavior)
    sample = draw_sample(space, count=loaded.spec.protocol.pairs, seed=seed)
    pairs = sample.few(MATCH_PAIRS, seed=seed)
    nodes = nodes_of(loaded.spec)
    whole = Nodes.gather((site_of(name), channel) for name, channel in nodes)
    return match_nodes(here, there, whole, pairs).at_places(nodes)


def readdressed(
    spec: Spec, match: Match, *, model: str, digests: Mapping[str, str], version: str
) -> Spec:
    """The specification with the nodes where they are in the candidate.

    model: how the new file names the candidate. digests: of both models, for `found_by`.
    """
    edges = match.edges(edges_of(spec))
    alike = [abs(value) for value in match.alike.values()]
    came_from = grouped((hook, c) for (hook, _), (_, c) in match.reversed.there.items())
    found_by: dict[str, FoundBy] = {
        "tool": f"pytest-circuits {version} --circuits-match",
        "matched_with": digests["base"],
        "model_digest": digests["candidate"],
        "nodes": match.nodes.count,
        "nodes_moved": match.moved,
        "mean_correlation": float(f"{sum(alike) / len(alike):.4g}"),
        "least_correlation": float(f"{min(alike):.4g}"),
        "channels_there": {hook: tuple(channels) for hook, channels in came_from.items()},
    }
    return spec.model_copy(
        update={
            "model": model,
            "nodes": undivide(dict(match.nodes.channels)),
            "edges": None if edges is None else edges.listed(),
            "found_by": found_by,
        }
    )


def place_in(
    match: Match, edges: Edges | None, shift: Shift | None, *, here: Model, there: Model
) -> Place:
    """Where a matched circuit lies there, told in the order of its nodes here; edges: there."""
    at = {node: i for i, node in enumerate(match.nodes)}
    heads = {
        _head(here, *one): _head(there, *other)
        for one, other in match.there.items()
        if here.sites[one[0]].kind in (Kind.VALUE, Kind.HEAD)
    }
    kept = kept_heads(match.reversed.nodes, here) if shows_attention(here) else ()
    return Place(
        match.nodes,
        edges,
        shift,
        order=tuple(at[node] for node in match.there.values()),
        heads=tuple(heads[head] for head in kept),
    )


def against(bench: Bench, base: Model, original: Spec, match: Match) -> Bench:
    edges, shift = edges_of(original), shift_of(original)
    runner = Runner(in_scope(original, base), load_reference(base), original.ablations[0])
    place = place_in(match.reversed, edges, shift, here=bench.model, there=runner.model)
    return replace(bench, baseline=Live(runner, place))


def _head(model: Model, name: str, node: int) -> Head:
    site = model.sites[name]
    return site.layer or 0, site.head_of(node) or 0
