"""Whether a model has the nodes and the weights that a specification names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytest_circuits.model.protocol import Model
from pytest_circuits.model.sparse.gpt import Ends
from pytest_circuits.spec.load import LoadedSpec
from pytest_circuits.spec.problems import Problem, listed, quoted, suggest
from pytest_circuits.spec.types import edge_ends, edge_key


def check_circuit(loaded: LoadedSpec, model: Model) -> tuple[Problem, ...]:
    """Problems of a spec whose circuit the model cannot have, each at its line."""
    return (*_check_nodes(loaded, model), *_check_edges(loaded, model))


def _check_nodes(loaded: LoadedSpec, model: Model) -> Iterator[Problem]:
    for hook, channels in loaded.spec.nodes.items():
        width = model.hook_points.get(hook)
        if width is None:
            text = f"the model has no hook point {quoted(hook)}"
            hint = suggest(hook, model.hook_points)
            yield loaded.problem_at(("nodes", hook), text, hint, key=True)
            continue
        for position, channel in enumerate(channels):
            if channel >= width:
                text = f"node {hook}[{channel}] is out of range: {hook} has channels"
                yield loaded.problem_at(("nodes", hook, position), f"{text} 0 to {width - 1}")


def _check_edges(loaded: LoadedSpec, model: Model) -> Iterator[Problem]:
    """Give the hook points that no weight joins; edges between nodes are known to be in range."""
    joined = model.edge_matrices().keys()
    for key in loaded.spec.edges or {}:
        ends = edge_ends(key)
        if ends not in joined and model.hook_points.keys() >= {*ends}:
            source, target = ends
            text = f"no weight leads from {quoted(source)} to {quoted(target)}"
            yield loaded.problem_at(("edges", key), text, _possible(ends, joined), key=True)


def _possible(ends: Ends, joined: Iterable[Ends]) -> str:
    source, target = ends
    if (target, source) in joined:
        return f"did you mean {quoted(edge_key(target, source))}?"
    near = [edge_key(*known) for known in joined if source == known[0] or target == known[1]]
    every = [edge_key(*known) for known in joined if known[0].startswith("0.")]
    return f"possible: {listed(near or every)}"
