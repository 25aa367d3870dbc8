"""Make a discrete circuit good enough, then smaller: add, remove and exchange nodes.

Masks are learnt together and end where many of them depend on each other. What is left is a search
over sets of nodes: gradients at the discrete circuit propose, measured quality decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import torch
from torch.nn import functional as F

from pytest_circuits.prune.discretise import nodes_of
from pytest_circuits.prune.sides import margins, separation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import Tensor

    from pytest_circuits.circuit import Edges, Nodes
    from pytest_circuits.prune.pool import Drawn
    from pytest_circuits.prune.quality import Bar, Judge, Quality

T = TypeVar("T")
Node = tuple[str, int]

_PROPOSED = 12  # nodes that are tried at a time, alone and the first few together
_TOGETHER = (2, 4, 8)
_LARGEST = 64  # nodes that a repair adds at most
_EXCHANGED = 8  # nodes that are tried in place of others, in a round
_TRIED = 4  # of them, so many are followed by a removal
_SHARP = 8.0  # of the soft maximum over pairs, per bar


class Proposer:
    """Says which nodes would help a circuit most if they were added to it, to first order."""

    def __init__(self, judge: Judge, fill: Mapping[str, Tensor], prompts: Drawn) -> None:
        self._judge, self._fill, self._prompts = judge, fill, prompts

    def additions(self, nodes: Nodes, *, forbidden: frozenset[Node] = frozenset()) -> list[Node]:
        """Nodes outside a circuit, the most helpful first."""
        gradient = self._gradient(nodes)
        taken = forbidden.union(nodes)
        outside = [
            (slope, place, i, hook)
            for place, (hook, slopes) in enumerate(gradient.items())
            for i, slope in enumerate(slopes)
            if (hook, i) not in taken
        ]
        return [(hook, i) for *_, i, hook in sorted(outside)]

    def _gradient(self, nodes: Nodes) -> dict[str, list[float]]:
        """Slope of what presses against the bar, by the mask of each node."""
        runner, bar = self._judge.runner, self._judge.bar
        on = {
            hook: torch.zeros(1, width, device=runner.model.device)
            for hook, width in runner.model.hook_points.items()
        }
        for hook, mask in on.items():
            mask[0, list(nodes.at(hook))] = 1
            mask.requires_grad_()
        found = margins(runner.model, self._fill, on, self._prompts)[0]  # [2, P]
        loss = F.softplus(-found[0]).mean() / bar.max_loss
        apart = separation(found[1]) / bar.max_separation
        worst = torch.logsumexp(_SHARP * apart, 0) / _SHARP
        (F.relu(loss - 0.5) + F.relu(worst - 0.5)).backward()  # type: ignore[no-untyped-call]
        return {
            hook: [0.0] * mask.shape[1] if mask.grad is None else mask.grad[0].tolist()
            for hook, mask in on.items()
        }


def repair(
    judge: Judge, proposer: Proposer, nodes: Nodes, *, forbidden: frozenset[Node] = frozenset()
) -> Nodes | None:
    """Add nodes until the bar is reached, the most helpful ones; None where nothing helps."""
    (quality,) = judge.assess([nodes])
    limit = nodes.count + _LARGEST
    while not quality.reaches(judge.bar):
        if nodes.count > limit:
            return None
        proposed = proposer.additions(nodes, forbidden=forbidden)[:_PROPOSED]
        larger = [nodes_of([*nodes, node]) for node in proposed]
        larger += [nodes_of([*nodes, *proposed[:size]]) for size in _TOGETHER]
        qualities = judge.assess(larger)
        merits = [
            (not q.reaches(judge.bar), n.count * q.reaches(judge.bar), q.excess(judge.bar), i)
            for i, (n, q) in enumerate(zip(larger, qualities, strict=True))
        ]
        best = min(merits)[-1]
        if qualities[best].excess(judge.bar) >= quality.excess(judge.bar):
            return None
        nodes, quality = larger[best], qualities[best]
    return nodes


def remove(judge: Judge, nodes: Nodes, edges: Edges | None = None) -> Iterator[Nodes]:
    """Remove nodes that are not missed, the least missed first; yields every smaller circuit."""

    def assess(kept: Sequence[Sequence[Node]], *, few: bool) -> list[Quality]:
        return judge.assess([nodes_of(some) for some in kept], edges=edges, few=few)

    for kept in eliminate(list(nodes), assess, judge.bar, least=1):
        yield nodes_of(kept)


def exchange(
    judge: Judge,
    proposer: Proposer,
    nodes: Nodes,
    *,
    rounds: int,
    forbidden: frozenset[Node] = frozenset(),
) -> Iterator[Nodes]:
    """Add one node where that lets two others go; yields every smaller circuit."""
    tried = set(forbidden)
    for _ in range(rounds):
        proposed = proposer.additions(nodes, forbidden=frozenset(tried))[:_EXCHANGED]
        larger = [nodes_of([*nodes, node]) for node in proposed]
        qualities = judge.assess(larger, few=True)
        order = sorted(range(len(larger)), key=lambda i: (qualities[i].use(judge.bar), i))
        for i in order[:_TRIED]:
            tried.add(proposed[i])
            *_, smaller = larger[i], *remove(judge, larger[i])
            if smaller.count < nodes.count:
                nodes = smaller
                yield nodes
                break
        else:
            return


def eliminate(
    items: list[T],
    assess: Callable[..., list[Quality]],
    bar: Bar,
    *,
    least: int,
) -> Iterator[list[T]]:
    """Remove items that are not missed, the least missed first; yields every smaller list.

    Each round ranks the items by what leaving one out costs, on few pairs first, and removes the
    largest part of the ranking's head that still reaches the bar on all of them. At the end no
    single item can be left out.
    """
    few = True
    while len(items) > least:
        left_out = assess([[*items[:i], *items[i + 1 :]] for i in range(len(items))], few=few)
        order = sorted(range(len(items)), key=lambda i: (left_out[i].use(bar), i))
        passing = [i for i in order if left_out[i].reaches(bar)]
        smaller = _without_most(items, passing, assess, bar, least=least)
        if smaller is not None:
            items = smaller
            yield items
        elif few:
            few = False
        else:
            return


def _without_most(
    items: list[T],
    passing: list[int],
    assess: Callable[..., list[Quality]],
    bar: Bar,
    *,
    least: int,
) -> list[T] | None:
    """Items without as many of those that pass alone as can go together, halving their number."""
    size = min(max(1, len(passing) // 2), len(items) - least)
    while passing:
        removed = set(passing[:size])
        smaller = [item for i, item in enumerate(items) if i not in removed]
        (quality,) = assess([smaller], few=False)
        if quality.reaches(bar):
            return smaller
        if size == 1:
            passing = passing[1:]
        size = max(1, size // 2)
    return None
