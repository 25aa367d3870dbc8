"""What the nodes and heads of a circuit do on prompts and on reference text, in two halves.

Statements are made of one half and checked on the other (`show.explain`). All is of the whole
model. Letters: n texts, T tokens, Q tokens of each that are looked from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_circuits.circuit.attention import Head, kept_heads, patterns
from pytest_circuits.circuit.encoding import floats, preferences
from pytest_circuits.circuit.interventions import run_tree
from pytest_circuits.circuit.nodes import Node, Nodes
from pytest_circuits.circuit.runner import CIRCUITS, ROWS, Fill, Runner
from pytest_circuits.circuit.side_by_side import channels_of, size_of
from pytest_circuits.circuit.trees import Grown, Trees
from pytest_circuits.circuit.view import WHOLE, View, keep_masks
from pytest_circuits.model.protocol import Model
from pytest_circuits.model.reference import skipped
from pytest_circuits.prompts.space import Pair, PromptSpace, prompts_of
from pytest_circuits.spec.template import Cue

Numbers = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Contrast = tuple[Cue, Cue]

SEED = 0
PAIRS = 100  # of prompts, both halves together
TEXT_TOKENS = 1 << 15  # of reference text, the same
QUERIES = 8  # of a window, from which it is seen what heads attend to
RUNS = 1 << 14  # prompts with one node ablated: of many nodes fewer prompts are run
FEWEST = 8  # pairs that are run so, at least
_LOGITS = 1 << 24  # that one forward makes


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """What was seen in n windows of T tokens."""

    tokens: Ints  # [n, T]; -1 where what stands before every text is
    values: Mapping[Node, Numbers]  # [n, T] each
    asked: Ints  # [n, Q] the tokens that are looked from
    attention: Mapping[Head, Numbers]  # [n, Q, T] each; what lacks to one went to the sink

    def only(self, rows: Ints) -> Texts:
        """Return some of the texts."""
        return Texts(
            self.tokens[rows],
            {node: x[rows] for node, x in self.values.items()},
            self.asked[rows],
            {head: x[rows] for head, x in self.attention.items()},
        )


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """Prompts, and what was seen in them: rows 2i and 2i + 1 are the members of pair i.

    carried: of each node [n, 2, channels], where the two prompts part and at the last token.
    attention: from the last token, [n, T]. margins: of the whole model, in nats.
    effects: how much less that is with a node ablated, [n]; NaN where it was not run. raised: the
    token whose logit is lowered most by that, [n]; -1 where it was not run.
    """

    contrasts: tuple[Contrast, ...]  # of each pair
    tokens: Ints  # [n, T]; -1 after the end
    last: Ints  # [n]
    carried: Mapping[Node, Numbers]
    attention: Mapping[Head, Numbers]
    margins: Numbers  # [n]
    effects: Mapping[Node, Numbers]
    raised: Mapping[Node, Ints]

    def only(self, pairs: Ints) -> Asked:
        """Return the prompts of some pairs."""
        rows = np.stack([2 * pairs, 2 * pairs + 1], axis=1).ravel()
        return Asked(
            tuple(self.contrasts[i] for i in pairs),
            self.tokens[rows],
            self.last[rows],
            {node: x[rows] for node, x in self.carried.items()},
            {head: x[rows] for head, x in self.attention.items()},
            self.margins[rows],
            {node: x[rows] for node, x in self.effects.items()},
            {node: x[rows] for node, x in self.raised.items()},
        )


@dataclass(frozen=True, slots=True, eq=False)
class Half:
    """One half of what was looked at."""

    prompts: Asked
    text: Texts


def observe(runner: Runner, nodes: Nodes, space: PromptSpace) -> tuple[Half, Half]:
    """Look at prompts of a space and at reference text: the half that is learnt from, the other.

    No pair and no window of text is in both.
    """
    rng = np.random.Generator(np.random.Philox(key=SEED))
    asked, text = _asked(runner, nodes, _pairs(space, rng)), _text(runner, nodes, rng)
    rows = rng.permutation(len(text.tokens))
    first, second = (
        Half(
            asked.only(np.arange(part, len(asked.contrasts), 2)), text.only(np.sort(rows[part::2]))
        )
        for part in (0, 1)
    )
    return first, second


def _pairs(space: PromptSpace, rng: np.random.Generator) -> list[tuple[Pair, Contrast]]:
    """Different pairs in random order, of every group as many, each with its two cues."""
    found: list[tuple[Pair, Contrast]] = []
    each = -(-PAIRS // len(space.groups))
    for group in space.groups:
        if group.size <= 4 * each:
            some = [pair for pair, _ in group.enumerate()]
        else:
            some = list(dict.fromkeys(group.sample(each, seed=SEED)))
        found += [(some[i], group.contrast) for i in rng.permutation(len(some))[:each]]
    return [found[i] for i in rng.permutation(len(found))]


def _asked(runner: Runner, nodes: Nodes, pairs: Sequence[tuple[Pair, Contrast]]) -> Asked:
    """Run prompts, and each with one node ablated."""
    model, encoder = runner.model, runner.whole.encoder
    prompts = prompts_of(pair for pair, _ in pairs)
    ids = [encoder.tokens(prompt) for prompt in prompts]
    last = np.array([len(each) - 1 for each in ids])
    places = np.array([(_first_apart(ids[i], ids[i ^ 1]), last[i]) for i in range(len(ids))])
    tokens = np.full((len(ids), int(last.max()) + 1), -1)
    carried = {(name, i): np.zeros((len(ids), 2, model.sites[name].channels)) for name, i in nodes}
    attention = {head: np.zeros(tokens.shape) for head in _heads(model, nodes)}
    for rows in encoder.groups(prompts, rows=ROWS):
        batch = encoder.batch([prompts[i] for i in rows], rows=len(rows))
        here = torch.from_numpy(places[rows]).to(model.device)
        seen = _run(model, nodes, batch.tokens, here)
        for node in nodes:
            carried[node][rows] = seen.carried[node]
        for head, weights in attention.items():
            length = min(weights.shape[1], batch.tokens.shape[1])
            weights[rows, :length] = seen.attention[head][:, 1, :length]
        for row in rows:
            tokens[row, : len(ids[row])] = ids[row]
    only = [pair for pair, _ in pairs]
    return Asked(
        tuple(contrast for _, contrast in pairs),
        tokens,
        last,
        carried,
        attention,
        runner.margins(only, WHOLE).ravel(),
        *_effects(runner, nodes, only),
    )


def _first_apart(mine: Sequence[int], other: Sequence[int]) -> int:
    """Where two prompts part: the first token that is another one."""
    apart = (i for i, (a, b) in enumerate(zip(mine, other, strict=False)) if a != b)
    return next(apart, min(len(mine), len(other)) - 1)


@torch.inference_mode()
def _effects(
    runner: Runner, nodes: Nodes, pairs: Sequence[Pair]
) -> tuple[dict[Node, Numbers], dict[Node, Ints]]:
    """How much the margin falls with each node ablated, and which token's logit falls most.

    Of so many prompts as there is time for.
    """
    model, some = runner.model, pairs[: max(FEWEST, RUNS // (2 * nodes.count))]
    effects = {node: np.full(2 * len(pairs), np.nan) for node in nodes}
    raised = {node: np.full(2 * len(pairs), -1) for node in nodes}
    views = [(node, View.without(Nodes.gather([node]))) for node in nodes]
    kind = runner.ablation.kind
    trees = Trees.of(runner.whole.encoder, runner.reference, kind)
    for rows, grown in trees.groups(prompts_of(some), rows=ROWS):
        fill = grown.fill(model, runner.reference, kind)

        def run(views: Sequence[View], grown: Grown = grown, fill: Fill = fill) -> Tensor:
            return run_tree(model, grown.tree, keep=keep_masks(views, model), fill=fill, cuts={})

        whole = run([WHOLE])  # [1, B, V]
        for start in range(0, len(views), CIRCUITS):
            chunk = views[start : start + CIRCUITS]
            lost = whole - run([view for _, view in chunk])  # [K, B, V]
            scores = floats(preferences(lost, grown.choices))  # [K, B, 2]
            for (node, _), score, most in zip(chunk, scores, lost.argmax(-1).cpu(), strict=True):
                effects[node][rows] = score[:, 0] - score[:, 1]
                raised[node][rows] = most.numpy()
    return effects, raised


def _text(runner: Runner, nodes: Nodes, rng: np.random.Generator) -> Texts:
    """Run windows of reference text, spread evenly over it."""
    model, every = runner.model, runner.reference.tokens
    skip, length = skipped(model, every), every.shape[1]
    count = min(len(every), max(2, TEXT_TOKENS // length))
    chosen = np.unique(np.linspace(0, len(every) - 1, num=count).astype(int))
    tokens = every[torch.from_numpy(chosen)]
    asked = rng.integers(min(skip + 1, length - 1), length, size=(len(chosen), QUERIES))
    step = max(1, min(16, _LOGITS // (length * model.vocab_size)))
    seen = [
        _run(
            model,
            nodes,
            tokens[start : start + step].to(model.device),
            torch.from_numpy(asked[start : start + step]).to(model.device),
        )
        for start in range(0, len(chosen), step)
    ]
    shown = tokens.numpy().copy()
    shown[:, :skip] = -1
    return Texts(
        shown,
        {node: np.concatenate([each.sizes[node] for each in seen]) for node in nodes},
        asked,
        {
            head: np.concatenate([each.attention[head] for each in seen])
            for head in seen[0].attention
        },
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """One batch: what each node carries at some tokens, and its size at all, and attention."""

    carried: dict[Node, Numbers] = field(default_factory=dict)  # [N, Q, channels]
    sizes: dict[Node, Numbers] = field(default_factory=dict)  # [N, T]
    attention: dict[Head, Numbers] = field(default_factory=dict)  # [N, Q, T]


def _heads(model: Model, nodes: Nodes) -> list[Head]:
    """The kept heads of which the model shows what they attend to."""
    shown = {gauge.layer for gauge in patterns(model).values()}
    return [head for head in kept_heads(nodes, model) if head[0] in shown]


@torch.inference_mode()
def _run(model: Model, nodes: Nodes, tokens: Tensor, asked: Tensor) -> _Seen:
    """Run a batch [N, T], and see what is carried at, and attended to from, some tokens [N, Q]."""
    seen, heads = _Seen(), _heads(model, nodes)
    gauges = {name: gauge.layer for name, gauge in patterns(model).items()} if heads else {}
    rows = torch.arange(len(tokens), device=tokens.device)[:, None]

    def hook(name: str, x: Tensor) -> Tensor:
        if name in gauges:
            for layer, head in heads:
                if layer == gauges[name]:
                    seen.attention[layer, head] = floats(x[rows, head, asked])
        elif nodes.at(name):
            some = channels_of(model, name, x, nodes.at(name))  # [N, T, nodes, channels]
            sizes, carried = floats(size_of(some)), floats(some[rows, asked])
            for place, channel in enumerate(nodes.at(name)):
                seen.sizes[name, channel] = sizes[..., place]
                seen.carried[name, channel] = carried[:, :, place]
        return x

    model.run(tokens, hook, gauges=tuple(gauges))
    return seen
