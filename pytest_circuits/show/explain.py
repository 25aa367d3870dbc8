"""What each part of a circuit does, in statements that are checked where they were not made."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_circuits.circuit.attention import Head
from pytest_circuits.circuit.edges import Edges, live_edges
from pytest_circuits.circuit.nodes import Node, Nodes, node_id
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.model.protocol import Kind, Model, Site, sites_of
from pytest_circuits.prompts.space import PromptSpace
from pytest_circuits.show.goes_with import goes_with
from pytest_circuits.show.kinds import Vocabulary
from pytest_circuits.show.looks_at import from_last, in_text
from pytest_circuits.show.observed import observe
from pytest_circuits.show.statement import Explanation, Part, Statement
from pytest_circuits.show.told_apart import pushes, tells_apart
from pytest_circuits.show.where_on import Places, examples, where_on

_OF_HEAD = {Kind.QUERY: "a query of ", Kind.KEY: "a key of ", Kind.VALUE: "a value of "}
_OF_LAYER = {Kind.KEYS_VALUES: "keys and values of a group of heads"}


def explain(runner: Runner, nodes: Nodes, edges: Edges | None, space: PromptSpace) -> Explanation:
    """What the nodes and heads of a circuit do in the whole model.

    The effects are those of the ablation of the runner. edges: None for all weights between nodes.
    """
    model = runner.model
    made, checked = observe(runner, nodes, space)
    words, places = Vocabulary.of(model), (Places.of(made.text), Places.of(checked.text))
    parts: list[Part] = []
    leaders: list[Node] = []  # the nodes that go with none before them
    left = set(made.text.attention)  # the heads of which nothing has been said yet
    for name, site in model.sites.items():
        for channel in nodes.at(name):
            node, index = (name, channel), site.head_of(channel)
            head = None if index is None else (site.layer or 0, index)
            aims: tuple[Statement, ...] = ()
            if head in left and head is not None:
                left.remove(head)
                aims = (
                    *from_last(head, made.prompts, checked.prompts, words),
                    *in_text(head, made.text, checked.text, words),
                )
                if site.kind is not Kind.HEAD:
                    fact = _moves(head, nodes, edges, model)
                    parts.append(Part(f"head {head[0]}.{head[1]}", _head(head), aims, fact))
                    aims = ()
            followed = goes_with(node, leaders, made.text, checked.text)
            if followed is None:
                leaders.append(node)
            tried = (
                *aims,
                *(
                    [followed]
                    if followed
                    else where_on(node, made.text, checked.text, places, words)
                ),
                *tells_apart(node, site, made.prompts, checked.prompts),
                *pushes(node, made.prompts, checked.prompts, words),
            )
            shown = () if followed else tuple(examples(node, checked.text, words))
            parts.append(Part(node_id(name, channel), _is_a(site, channel), tried, "", shown))
    tokens = int((checked.text.tokens >= 0).sum())
    value = runner.ablation.kind.value
    return Explanation(tuple(parts), len(checked.prompts.last), tokens, value)


def _head(head: Head) -> str:
    return f"attention head {head[1]} of layer {head[0]}"


def _is_a(site: Site, channel: int) -> str:
    """What a node is, in words."""
    head, layer = site.head_of(channel), site.layer or 0
    if head is not None:
        return f"{_OF_HEAD.get(site.kind, '')}{_head((layer, head))}"
    if site.kind is not Kind.RESIDUAL:
        return f"{_OF_LAYER.get(site.kind, f'a {site.kind.value}')} of layer {layer}"
    stream = f"channel {channel} of the residual stream"
    if site.layer is None:
        return f"{stream} at its end, which the answer is read from"
    return f"what layer {layer} {'adds to' if site.writes else 'reads of'} {stream}"


def _moves(head: Head, nodes: Nodes, edges: Edges | None, model: Model) -> str:
    """What a head copies from where it looks, and to where: by the weights of the circuit."""
    values = {
        (name, channel)
        for name, site in sites_of(model, Kind.VALUE).items()
        for channel in nodes.at(name)
        if (site.layer or 0, site.head_of(channel)) == head
    }
    joined = [
        ((source, a), (target, b))
        for (source, target), (a, b) in live_edges(nodes, model, edges)
        if (source, a) in values
    ]
    if not joined:
        return ""
    copied, written = (dict.fromkeys(ends[place] for ends in joined) for place in (0, 1))
    return f"{_named(copied)} from where it looks into {_named(written)}, by the weights"


def _named(some: dict[Node, None]) -> str:
    return ", ".join(_sites(some))


def _sites(some: dict[Node, None]) -> Iterator[str]:
    by_site: dict[str, list[int]] = {}
    for name, channel in some:
        by_site.setdefault(name, []).append(channel)
    for name, channels in by_site.items():
        yield node_id(name, ", ".join(map(str, sorted(channels))))
