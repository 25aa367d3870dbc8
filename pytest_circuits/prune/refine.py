"""Make a discrete circuit good enough, then smaller: add, remove and exchange nodes and edges.

Masks are learnt together and end where many of them depend on each other. What is left is a search
over sets of nodes: gradients at the discrete circuit propose, measured quality decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pytest_circuits.circuit.attention import kept_heads, nodes_of_heads
from pytest_circuits.circuit.edges import Edge, Edges, live_edges
from pytest_circuits.circuit.masks import masks_of
from pytest_circuits.circuit.nodes import Node, Nodes
from pytest_circuits.model.protocol import Kind, Model, sites_of
from pytest_circuits.prune.alone import LARGEST
from pytest_circuits.prune.judge import INSIDE, Judge
from pytest_circuits.prune.met import Met
from pytest_circuits.prune.objective import Left, Objective, Tried
from pytest_circuits.prune.pool import Prompts
from pytest_circuits.prune.price import cost, discounted
from pytest_circuits.prune.quality import Bar, Quality
from pytest_circuits.prune.soft_masks import in_order
from pytest_circuits.spec.ablations import Ablation

T = TypeVar("T")

_PROPOSED = 12  # nodes that a repair tries at a time, alone and the first few together
_SCREENED = 24  # nodes of which, where each costs many runs, those are tried that help most
_FEW = 4  # in what fails
_FOLLOWED = 4  # circuits, the best in what fails, of which it is seen how they do in all else
_PRESSING = 0.8  # of what presses most: what presses less asks for no help
_TOGETHER = (2, 4, 8)
_LARGEST = 64  # nodes that a repair adds at most
_RANKED = 128  # nodes that are tried at a time where there are too many to leave each out
_EXCHANGED = 48  # nodes that are tried in place of others, in a round
_TRIED = 6  # of them, so many are followed by a removal
_SHARP = 8.0  # of the soft maximum over pairs, per bar


class Proposer:
    """Says to first order which nodes would help a circuit most, and which it could spare.

    Of circuits that are good enough the cheapest is wanted: where no node is priced, the smallest.
    """

    def __init__(
        self,
        judge: Judge,
        objective: Objective,
        prompts: Prompts,
        *,
        priced: frozenset[Node] = frozenset(),
    ) -> None:
        self._judge, self._objective, self._prompts = judge, objective, prompts
        self.priced = priced

    def at_prices_of(self, priced: frozenset[Node]) -> Proposer:
        """The same where these nodes cost more."""
        return Proposer(self._judge, self._objective, self._prompts, priced=priced)

    def cost(self, nodes: Nodes) -> int:
        return cost(nodes, self.priced)

    def additions(self, nodes: Nodes, *, forbidden: frozenset[Node] = frozenset()) -> list[Node]:
        """Nodes outside a circuit, the most helpful first."""
        on = self._masks(nodes)
        uses = self._uses(on)
        slopes = _slopes(F.relu(uses - _PRESSING * uses.detach().max()).sum(), on)
        return in_order(discounted(slopes, self.priced), without=forbidden.union(nodes))

    def uses_without(self, nodes: Nodes) -> list[float]:
        """How much of the room below the bar is used without each node, by what is pressed most."""
        on = self._masks(nodes)
        most = torch.logsumexp(_SHARP * self._uses(on, shares=False), 0) / _SHARP
        slopes = _slopes(most, on)
        return [most.item() - slopes[hook][channel] for hook, channel in nodes]

    def _uses(self, on: Mapping[str, Tensor], *, shares: bool = True) -> Tensor:
        """What of the room below the bar is used by every measure.

        shares: of prompts as well. Their gradient is of what has to go, and says of no node that it
        may.
        """
        bar = self._judge.bar
        tried = self._objective.tried(on, self._prompts, self._parts())
        left = chain.from_iterable(_uses_left(each, bar, shares=shares) for each in tried.left)
        losses = (loss[0] / bar.max_loss for loss in tried.losses)
        beside = list[Tensor]()
        for gaps, missed, found in zip(tried.gaps, tried.missed, self._met().values(), strict=True):
            sizes = [len(met.portions) for met in found]
            beside += [gap.mean() / bar.max_gap for gap in torch.split(gaps[0], sizes)]
            some = zip(torch.split(missed[0], sizes), found, strict=True)
            missing = [each[0] for each, met in some if shares and not met.drawn]
            room = max(1 - bar.min_rate, 0.01) / self._judge.demands.turned
            beside += [share / room for share in missing]
        return torch.stack([*losses, *left, *beside, *_uses_inside(tried, bar)])

    def _met(self) -> dict[Ablation, list[Met]]:
        """What was met, by ablation, in the order in which these are tried."""
        judge = self._judge
        found = {
            each: [m for m in judge.met if m.ablation is each] for each in judge.demands.ablations
        }
        return {ablation: met for ablation, met in found.items() if met}

    def _parts(self) -> dict[Ablation, dict[str, Tensor]]:
        """What stays of the rest in each part that was met, [1, parts, D] by site."""
        model, found = self._judge.runner.model, {}
        for ablation, met in self._met().items():
            mine = [portion for each in met for portion in each.portions]
            stays = torch.tensor([part.stays for part in mine], device=model.device)[:, None]
            masks = masks_of(model, [part.nodes for part in mine])
            found[ablation] = {name: (mask == stays).float()[None] for name, mask in masks.items()}
        return found

    def _masks(self, nodes: Nodes) -> dict[str, Tensor]:
        masks = masks_of(self._judge.runner.model, [nodes])
        return {name: mask.float().requires_grad_() for name, mask in masks.items()}


def _uses_left(left: Left, bar: Bar, *, shares: bool) -> Iterator[Tensor]:
    """By the pair that is told apart most, and by the share of prompts."""
    yield torch.logsumexp(_SHARP * left.nats[0] / bar.max_separation, 0) / _SHARP
    if not shares:
        return
    if left.turned:
        yield left.share[0] / max(1 - bar.min_flip, 0.01)
    else:
        yield (left.share[0] - 0.5) / max(bar.max_left - 0.5, 0.01)


def _uses_inside(tried: Tried, bar: Bar) -> Iterator[Tensor]:
    if tried.inside is not None and tried.frozen is not None:
        yield tried.frozen[0] / bar.max_gap
        yield (1 - tried.inside.correlation[0]) / max(1 - bar.min_correlation, 0.01)
        yield from tried.inside.attention[0] / bar.max_attention


def _slopes(value: Tensor, masks: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """The gradient of a value by masks [1, D], by hook point."""
    gradients = torch.autograd.grad(value, list(masks.values()), allow_unused=True)
    return {
        hook: [0.0] * mask.shape[1] if gradient is None else gradient[0].tolist()
        for (hook, mask), gradient in zip(masks.items(), gradients, strict=True)
    }


def repair(
    judge: Judge, proposer: Proposer, nodes: Nodes, *, forbidden: frozenset[Node] = frozenset()
) -> Nodes | None:
    """Add nodes until the bar is reached, the most helpful ones; None where nothing helps.

    A head that attends elsewhere may go instead, and a node that changes its role; where nothing
    that is added helps and parts of the rest may not hurt, any node. Where that helps neither,
    those that change their role go for good, and others have to do what they did.
    """
    quality, failing = judge.in_full(nodes)
    limit = nodes.count + _LARGEST
    while not quality.reaches(judge.bar):
        if nodes.count > limit:
            return None
        others = _larger(judge, proposer, nodes, forbidden, failing)
        if quality.attention > judge.bar.max_attention:  # of a head that may not be needed
            model = judge.runner.model
            others += [
                _without(nodes, nodes_of_heads(nodes, model, [head]))
                for head in kept_heads(nodes, model)
            ]
        if quality.turned:
            turned = judge.turned(nodes)
            some = [[node] for node in turned] + [turned] * (len(turned) > 1)
            others += [_without(nodes, each) for each in some]
        better = _best(judge, proposer, others, failing, than=quality)
        if better is None and judge.demands.max_gap is not None:
            fewer = [nodes.without(*node) for node in nodes]
            better = _best(judge, proposer, fewer, failing, than=quality)
        if better is None and quality.turned and judge.bar.roles:
            turned = judge.turned(nodes)
            nodes, forbidden = _without(nodes, turned), forbidden.union(turned)
            better = nodes, *judge.in_full(nodes)
        if better is None:
            return None
        nodes, quality, failing = better
    return nodes


def _best(
    judge: Judge,
    proposer: Proposer,
    circuits: Sequence[Nodes],
    failing: frozenset[str],
    *,
    than: Quality,
) -> tuple[Nodes, Quality, frozenset[str]] | None:
    """The circuit that does best in what fails, of those that are better in all; the cheapest.

    Gives its quality besides, and what fails then.
    """
    bar = judge.bar
    merits = [
        (not q.reaches(bar), proposer.cost(n) * q.reaches(bar), q.excess(bar), i)
        for i, (n, q) in enumerate(zip(circuits, judge.assess(circuits, only=failing), strict=True))
    ]
    for *_, i in sorted(merits)[:_FOLLOWED]:
        quality, still = judge.in_full(circuits[i])
        if quality.excess(bar) < than.excess(bar):
            return circuits[i], quality, still
    return None


def _larger(
    judge: Judge,
    proposer: Proposer,
    nodes: Nodes,
    forbidden: frozenset[Node],
    failing: frozenset[str],
) -> list[Nodes]:
    """A circuit with a node more, or with some."""
    if judge.demands.max_gap is None:
        proposed = proposer.additions(nodes, forbidden=forbidden)[:_PROPOSED]
        few = [[node] for node in proposed]
    else:  # no head that is not there: where it looks would be asked as well
        barred = forbidden.union(_of_other_heads(nodes, judge.runner.model))
        proposed = proposer.additions(nodes, forbidden=barred)[:_SCREENED]
        screened = judge.assess([Nodes.gather([*nodes, n]) for n in proposed], only=failing)
        excess = [quality.excess(judge.bar) for quality in screened]
        proposed = [proposed[i] for i in np.argsort(excess, kind="stable")]
        few = [[node] for node in proposed[:_FEW]]
    every = few + [proposed[:size] for size in _TOGETHER]
    # Several small parts at once: the worst of them is as bad while any of them is left.
    found = judge.failing_parts(failing)
    small = {node for met in found for node in met.small(judge.demands.few)} - forbidden
    if small:
        every.append(sorted(small))
    return [Nodes.gather([*nodes, *some]) for some in every]


def _of_other_heads(nodes: Nodes, model: Model) -> Iterator[Node]:
    """Values of heads of which a circuit keeps none."""
    kept = kept_heads(nodes, model)
    for name, site in sites_of(model, Kind.VALUE, Kind.HEAD).items():
        for channel in range(site.width):
            if (site.layer or 0, site.head_of(channel)) not in kept:
                yield name, channel


def remove(
    judge: Judge,
    proposer: Proposer,
    nodes: Nodes,
    edges: Edges | None = None,
    *,
    at_once: int | None = None,
) -> Iterator[Nodes]:
    """Remove nodes that are not missed, the least missed first; yields every smaller circuit.

    Nodes that change their role without some others go with them, and heads that look elsewhere.
    Priced nodes go before all others. at_once: nodes that are removed together, at most; None: any
    number.
    """
    bar, priced = judge.bar, proposer.priced

    def spared(kept: list[Node]) -> list[int]:
        if len(kept) > LARGEST:
            uses = proposer.uses_without(Nodes.gather(kept))
            return sorted(range(len(kept)), key=lambda i: (kept[i] not in priced, uses[i], i))[
                :_RANKED
            ]
        parts = [(Nodes.gather(_but(kept, {i})), edges) for i in range(len(kept))]
        alone = judge.alone(parts)
        good = [i for i, quality in enumerate(alone) if quality.reaches(bar)]
        if len(good) < 2:  # there is no order to ask for
            return good
        others = proposer.uses_without(Nodes.gather(kept))
        uses = [max(q.use(bar), other) for q, other in zip(alone, others, strict=True)]
        return sorted(good, key=lambda i: (kept[i] not in priced, uses[i], i))

    def comes_to(kept: list[Node]) -> list[Node] | None:
        smaller = Nodes.gather(kept)
        while failing := judge.failing((smaller, edges)):
            if failing != INSIDE or edges is not None:
                return None
            misled = judge.turned(smaller) or [*judge.elsewhere(smaller)]
            if not misled:
                return None
            smaller = _without(smaller, misled)
        return list(smaller)

    for kept in eliminate(list(nodes), spared, comes_to, least=1, at_once=at_once):
        yield Nodes.gather(kept)


def fewer_heads(judge: Judge, nodes: Nodes) -> Iterator[Nodes]:
    """Leave out whole heads, whose nodes are missed one at a time; yields every smaller circuit."""
    model = judge.runner.model
    for head in kept_heads(nodes, model):
        fewer = _without(nodes, nodes_of_heads(nodes, model, [head]))
        if judge.reaches((fewer, None)):
            nodes = fewer
            yield nodes


def _without(nodes: Nodes, some: Iterable[Node]) -> Nodes:
    return Nodes.gather({*nodes}.difference(some))


def exchange(
    judge: Judge,
    proposer: Proposer,
    nodes: Nodes,
    *,
    rounds: int,
    forbidden: frozenset[Node] = frozenset(),
) -> Iterator[Nodes]:
    """Add one node where that lets two others go, or a priced one; yields every cheaper circuit."""
    tried = set(forbidden)
    for _ in range(rounds):
        proposed = proposer.additions(nodes, forbidden=frozenset(tried))[:_EXCHANGED]
        larger = [Nodes.gather([*nodes, node]) for node in proposed]
        alone = judge.alone([(some, None) for some in larger])
        order = sorted(range(len(larger)), key=lambda i: (alone[i].use(judge.bar), i))
        for i in order[:_TRIED]:
            tried.add(proposed[i])
            *_, smaller = larger[i], *remove(judge, proposer, larger[i])
            if proposer.cost(smaller) < proposer.cost(nodes):
                nodes = smaller
                yield nodes
                break
        else:
            return


def needed_edges(judge: Judge, nodes: Nodes) -> Edges:
    """The edges of a circuit that reach the bar without the others."""
    bar = judge.bar

    def spared(kept: list[Edge]) -> list[int]:
        parts = [Edges.gather([*kept[:i], *kept[i + 1 :]]) for i in range(len(kept))]
        alone = judge.alone([(nodes, part) for part in parts])
        good = [i for i, quality in enumerate(alone) if quality.reaches(bar)]
        return sorted(good, key=lambda i: (alone[i].use(bar), i))

    def comes_to(kept: list[Edge]) -> list[Edge] | None:
        return kept if judge.reaches((nodes, Edges.gather(kept))) else None

    kept = list(live_edges(nodes, judge.runner.model))
    for smaller in eliminate(kept, spared, comes_to, least=0):
        kept = smaller
    return Edges.gather(kept)


def eliminate(
    items: list[T],
    spared: Callable[[list[T]], list[int]],
    comes_to: Callable[[list[T]], list[T] | None],
    *,
    least: int,
    at_once: int | None = None,
) -> Iterator[list[T]]:
    """Remove items that are not missed; yields every smaller list.

    spared: which items may be left out one at a time, the least missed first. Of these the largest
    part of the head is removed that still reaches the bar. comes_to: what a list comes to that
    does, itself or a smaller one; None where it does not. At the end no single item can be left
    out: each that may is tried.
    """
    most = at_once or len(items)
    while len(items) > least:
        candidates = spared(items)
        size = min(max(1, len(candidates) // 2), len(items) - least, most)
        while candidates:
            smaller = comes_to(_but(items, set(candidates[:size])))
            if smaller is not None:
                most = min(at_once or len(items), 4 * (len(items) - len(smaller)))
                items = smaller
                yield items
                break
            if size == 1:
                candidates = candidates[1:]
            size = max(1, size // 2)
        else:
            return


def _but(items: Sequence[T], positions: set[int]) -> list[T]:
    return [item for i, item in enumerate(items) if i not in positions]
