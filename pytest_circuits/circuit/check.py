"""Whether a model has the nodes and weights of a specification, and can be asked its prompts.

Every command asks this before it works, so that all say the same of the same file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from pytest_circuits.circuit.scope import check_scope, in_scope
from pytest_circuits.errors import CircuitsError, SpecError
from pytest_circuits.model.protocol import Ends, Model, undivided, wires_of
from pytest_circuits.model.spelling import spans_of
from pytest_circuits.prompts.places import Places
from pytest_circuits.prompts.space import Pair, PromptSpace, prompts_of
from pytest_circuits.prompts.tokens import check_prompts
from pytest_circuits.spec.load import LoadedSpec
from pytest_circuits.spec.places import divided, role_of, roles_at, site_of
from pytest_circuits.spec.problems import Problem, listed, quoted, suggest
from pytest_circuits.spec.types import edge_ends, edge_key


def check_circuit(loaded: LoadedSpec, model: Model) -> tuple[Problem, ...]:
    """Problems of a spec whose circuit the model cannot have, each at its line."""
    if problems := tuple(check_scope(loaded, model)):
        return problems
    model = in_scope(loaded.spec, model)
    return (*_check_nodes(loaded, model), *_check_edges(loaded, model))


def check_asked(
    loaded: LoadedSpec, model: Model, pairs: Iterable[Pair], *, sample: bool = False
) -> tuple[Problem, ...]:
    """Problems of the prompts that are going to be asked, and of those that once broke a law.

    sample: these stand for all prompts, so that each node has to count at some of their tokens.
    """
    space, model = PromptSpace(loaded.spec.behavior), undivided(model)
    regressions = (pair for text in loaded.spec.regressions for pair in space.parse(text))
    asked = [*regressions, *pairs]
    problems = check_prompts(
        loaded,
        model.encode,
        max_tokens=model.max_tokens,
        pairs=asked,
        decode=model.decode_token,
    )
    return problems or tuple(_check_places(loaded, model, asked, sample=sample))


def _check_places(
    loaded: LoadedSpec, model: Model, pairs: Iterable[Pair], *, sample: bool
) -> Iterator[Problem]:
    """Give the first reason why it is not clear at which tokens of a prompt a node counts."""
    first = next((name for name in loaded.spec.nodes if role_of(name)), None)
    if first is None:
        return
    roles, seen = roles_at(loaded.spec.nodes), set[str]()
    places = Places.of(loaded.spec, roles)
    for text in sorted({prompt.text for prompt in prompts_of(pairs)}, key=lambda x: (len(x), x)):
        try:
            found = places.within(text, spans_of(model, text))
        except CircuitsError as error:
            yield loaded.problem_at(("nodes", first), str(error), key=True)
            return
        if found is None:
            why = f"no template makes the prompt {quoted(text)}: nobody knows where in it this is"
            yield loaded.problem_at(("nodes", first), why, key=True)
            return
        for site, numbers in found.items():
            names = divided(site, roles[site])
            seen |= {names[number] for number in {*numbers}}
    for name in loaded.spec.nodes if sample else ():
        if role_of(name) and name not in seen:
            why = f"no token of any prompt is at {quoted(role_of(name))}, so these count nowhere"
            yield loaded.problem_at(("nodes", name), why, "remove them, or their place", key=True)


def refuse(problems: Sequence[Problem]) -> None:
    """Raise SpecError if there are any."""
    if problems:
        raise SpecError(*problems)


def _check_nodes(loaded: LoadedSpec, model: Model) -> Iterator[Problem]:
    sites = undivided(model).sites
    for name, nodes in loaded.spec.nodes.items():
        point = site_of(name)
        site = sites.get(point)
        if site is None:
            text = f"the model has no hook point {quoted(point)}"
            yield loaded.problem_at(("nodes", name), text, suggest(point, sites), key=True)
            continue
        for position, node in enumerate(nodes):
            if node >= site.width:
                text = f"node {point}[{node}] is out of range: {point} has channels"
                yield loaded.problem_at(("nodes", name, position), f"{text} 0 to {site.width - 1}")


def _check_edges(loaded: LoadedSpec, model: Model) -> Iterator[Problem]:
    """Give the hook points that no weight joins; edges between nodes are known to be in range."""
    wires = wires_of(model)
    if loaded.spec.edges is not None and not wires:
        text = "this model shows no weights between hook points, so that edges cannot be listed"
        yield loaded.problem_at(("edges",), text, "leave 'edges' out", key=True)
        return
    for key in loaded.spec.edges or {}:
        ends = edge_ends(key)
        if ends not in wires and model.sites.keys() >= {*ends}:
            source, target = ends
            text = f"no weight leads from {quoted(source)} to {quoted(target)}"
            yield loaded.problem_at(("edges", key), text, _possible(ends, wires, model), key=True)


def _possible(ends: Ends, wires: Collection[Ends], model: Model) -> str:
    source, target = ends
    if (target, source) in wires:
        return f"did you mean {quoted(edge_key(target, source))}?"
    near = [edge_key(*known) for known in wires if source == known[0] or target == known[1]]
    every = [edge_key(*known) for known in wires if model.sites[known[0]].layer == 0]
    return f"possible: {listed(near or every)}"
