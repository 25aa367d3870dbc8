"""The nodes that a search begins with: by learnt masks, by attribution, or by greedy removal.

Attribution is the fast first guess, and a baseline to beat: gradient times (activation - ablated
value), summed over tokens and averaged over prompts, along the straight path from the ablated to
the whole model (integrated gradients, Sundararajan et al. 2017). Gao et al. 2025 find circuits that
are chosen this way hundreds of times larger (appendix A.5).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pytest_circuits.circuit.nodes import Node, Nodes, all_nodes
from pytest_circuits.model.protocol import Model, widths_of
from pytest_circuits.prune.masks import Masks, Search, learn
from pytest_circuits.prune.objective import Objective
from pytest_circuits.prune.plan import Method, Start
from pytest_circuits.prune.pool import Prompts
from pytest_circuits.prune.price import discounted
from pytest_circuits.prune.soft_masks import alone, in_order, margins
from pytest_circuits.prune.stages import Case, stage
from pytest_circuits.system.progress import reporting

POINTS = 16  # of the path at which the gradient is taken
_TOP_OF_RANKING = 2, 64  # a prefix may have so many times the nodes that were on, and so many more
_ATTRIBUTED = 64  # pairs
_GRID = 16  # sizes of a prefix tried at once


def drafts(cases: Sequence[Case]) -> Iterator[list[Nodes]]:
    """A few alternatives for each case; the masks of all of them are learnt in one batch."""
    method = cases[0].plan.method
    if method is not Method.MASKS:
        found = (case.run(proposed, method.value) for case in cases)
        yield from ([] if nodes is None else [nodes] for nodes in found)
        return
    batch = Batch(cases)
    yield from (case.run(of_masks, batch, index) for index, case in enumerate(cases))


@stage
def proposed(case: Case, method: str) -> Nodes | None:
    """Nodes by another method than masks; None where the plan asks for sure ones and none are."""
    return _by_attribution(case) if method == Method.ATTRIBUTION else _by_removal(case)


def _by_attribution(case: Case) -> Nodes | None:
    """The smallest prefix of the ranking by attribution that is good enough.

    Where none is, the longest one that is tried, or None where the plan asks for a sure one.
    """
    subject, barred = case.subject, set(case.forbidden)
    scores = attributed(subject.objective, subject.fill, subject.pool)
    ranking = [node for node in ranked(scores, case.dear) if node not in barred]
    most = min(len(ranking), case.plan.most_ranked or len(ranking))
    found = smallest(subject.judge.first, ranking, most=most)
    return found if found or case.plan.sure else Nodes.gather(ranking[:most])


def attributed(
    objective: Objective, fill: Mapping[str, Tensor], prompts: Prompts
) -> dict[str, Tensor]:
    """What each node does by the first prompts, under a constant ablation or by patching."""
    first = prompts.first(_ATTRIBUTED)
    return attribute(objective.model, fill, first) if fill else patched(objective, first)


def attribute(model: Model, fill: Mapping[str, Tensor], prompts: Prompts) -> dict[str, Tensor]:
    """How much each node lowers the task loss, in nats, by hook point: [D]; prompts: K = 1.

    With a mask m that mixes activation and ablated value, the gradient by m is the gradient by the
    activation times (activation - ablated value). At points of the path all masks are equal.
    """
    found = {hook: torch.zeros(width) for hook, width in widths_of(model).items()}
    for point in range(POINTS):
        on = {
            hook: torch.full(
                (1, width), (point + 0.5) / POINTS, device=model.device, requires_grad=True
            )
            for hook, width in widths_of(model).items()
        }
        kept = margins(model, fill, alone(on), prompts)
        F.softplus(-kept).mean().backward()  # type: ignore[no-untyped-call]
        for hook, mask in on.items():
            if mask.grad is not None:
                found[hook] -= mask.grad[0].cpu() / POINTS
    return found


def patched(objective: Objective, prompts: Prompts) -> dict[str, Tensor]:
    """How much each node would raise the task loss, in nats, at its value on the other prompt.

    To first order, at the whole model (attribution patching, Syed et al. 2023): [D] by hook point.
    With all nodes ablated at once, as on a path from none to all, a dense model does nothing that
    it does otherwise. prompts: K = 1.
    """
    on = {
        hook: torch.ones(1, width, device=objective.model.device, requires_grad=True)
        for hook, width in widths_of(objective.model).items()
    }
    objective.tried(on, prompts).losses[0].sum().backward()  # type: ignore[no-untyped-call]
    return {
        hook: torch.zeros(mask.shape[1]) if mask.grad is None else -mask.grad[0].cpu()
        for hook, mask in on.items()
    }


def ranked(attributed: Mapping[str, Tensor], priced: Collection[Node] = ()) -> list[Node]:
    """All nodes, the largest attribution of either sign first, then by their place in the model.

    priced: nodes whose attribution counts for less.
    """
    sizes = {hook: (-values.abs()).tolist() for hook, values in attributed.items()}
    return in_order(discounted(sizes, priced))


def _by_removal(case: Case) -> Nodes:
    """The nodes that stay when all that can go are removed, from the outputs back to the inputs.

    In the manner of ACDC (Conmy et al. 2023): what can be ablated without the loss of the behavior
    is ablated for good, node by node. Here on nodes instead of edges, against this project's bar
    instead of a threshold on the KL divergence, and in blocks that are halved where they cannot go
    as a whole, because the nodes are many and most of them can.
    """
    subject, barred = case.subject, set(case.forbidden)
    kept = [node for node in all_nodes(subject.model) if node not in barred]
    hooks = list(subject.model.sites)[::-1]
    with reporting(f"removing nodes of {subject.spec.circuit}", len(hooks)) as reporter:
        for place, hook in enumerate(hooks):
            blocks = [[node for node in kept if node[0] == hook]]
            while blocks:
                block = blocks.pop()
                gone = set(block)
                rest = [node for node in kept if node not in gone]
                if block and subject.judge.reaches((Nodes.gather(rest), None)):
                    kept = rest
                elif len(block) > 1:
                    half = len(block) // 2
                    blocks += [block[half:], block[:half]]
                reporter.at(place, f"{len(kept)} nodes")
    return Nodes.gather(kept)


class Batch:
    """The mask searches of several cases, which run as one when their masks are asked for."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self._cases = cases
        self._notes = cases[0].notes.about("masks", [case.notes.key for case in cases])
        self.key = self._notes.key

    @cached_property
    def masks(self) -> Masks:
        """The masks of all seeds of all cases, learnt."""
        plan, subject = self._cases[0].plan, self._cases[0].subject
        length = max(case.subject.pool.length for case in self._cases)
        first = [_first(case) for case in self._cases]
        searches = [
            Search(case.subject.pool.padded(length), seed, case.forbidden, nodes, case.priced)
            for case, nodes in zip(self._cases, first, strict=True)
            for seed in range(plan.seed, plan.seed + plan.seeds)
        ]
        masks = Masks(subject.model, searches, plan.masks)
        many = len(searches) > 1
        about = f"masks of {f'{len(searches)} searches' if many else subject.spec.circuit}"
        checkpoints = self._notes.checkpoints()
        with reporting(about, plan.masks.steps) as reporter:
            for step in learn(subject.objective, masks, plan.masks, checkpoints):
                count, loss = step.nodes.mean().item(), step.loss.mean().item()
                reporter.at(step.step + 1, f"{count:.0f} nodes  loss {loss:.3f}")
        return masks


def _first(case: Case) -> Nodes | None:
    """The nodes that a mask search starts with; None: all of them."""
    match case.plan.start:
        case Start.ALL:
            return None
        case Start.SPEC:
            return Nodes.of(case.subject.spec.nodes)
        case method:
            return case.run(proposed, method.value)


@stage
def of_masks(case: Case, batch: Batch, index: int) -> list[Nodes]:
    """What the masks of one case lead to, one circuit a seed."""
    masks, seeds = batch.masks, case.plan.seeds
    found, learnt = [], masks.learnt()
    for k in range(index * seeds, (index + 1) * seeds):
        nodes = learnt[k].smallest
        if nodes is None:
            on = masks.on(k)
            times, more = _TOP_OF_RANKING
            most = times * on.count + more
            # What bears parts of the rest is known by the mask, and not asked of a prefix.
            held = case.subject.objective.demands.max_gap is not None
            least, ranking = on.count if held else 1, learnt[k].ranking
            nodes = smallest(case.subject.judge.first, ranking, least=least, most=most) or on
        found.append(nodes)
    return found


def smallest(
    first: Callable[[Sequence[Nodes]], int | None],
    ranking: Sequence[Node],
    *,
    least: int = 1,
    most: int,
) -> Nodes | None:
    """The smallest prefix of a ranking that is good enough, or None from `least` to `most` nodes.

    first: the place of the first of some circuits that is.

    A longer prefix is not always better, so sizes are not bisected: a grid is tried, then a finer
    grid below its smallest good size, until neighbouring sizes have been tried.
    """
    low, high, best = max(least, 1), most, None
    while low <= high:
        sizes = sorted({int(s) for s in np.geomspace(low, high, _GRID).round()})
        position = first([Nodes.gather(ranking[:size]) for size in sizes])
        if position is None:
            return best
        size = sizes[position]
        best = Nodes.gather(ranking[:size])
        low = sizes[position - 1] + 1 if position else size
        high = size - 1
    return best
