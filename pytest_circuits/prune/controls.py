"""What the same search finds where there is nothing to find.

Masks are an expressive learner: they find circuits for behaviors that make no sense and in models
that have learnt nothing. So every result stands beside two mask searches with the same steps and
seeds: one for the behavior with answer and foil swapped in half of the pairs, one in the model with
the entries of every weight matrix shuffled. Both ask for sufficiency alone, which is the easier
thing. Neither is refined, so that they are compared with the circuit as it was before it was. A
circuit that begins with a ranking stands beside rankings by the same rule instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pytest_circuits.circuit.masks import masks_of
from pytest_circuits.circuit.nodes import Node, Nodes
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.view import View
from pytest_circuits.model.protocol import Model, Shuffles
from pytest_circuits.model.reference import measure
from pytest_circuits.prune.drafts import attributed, ranked, smallest
from pytest_circuits.prune.masks import Masks, Search, learn
from pytest_circuits.prune.objective import Demands, Objective
from pytest_circuits.prune.plan import Method
from pytest_circuits.prune.pool import Prompts, swaps
from pytest_circuits.prune.stages import Case, stage
from pytest_circuits.spec.ablations import Given
from pytest_circuits.system.progress import reporting

CLEARLY = 1.5  # times as many nodes as the circuit: less is no clear difference


@dataclass(frozen=True, slots=True)
class Control:
    """The best that a search without anything to find came to."""

    nodes: int
    loss: float  # nats, on all pairs that it learnt from
    reached: bool  # the loss is within the bar of the real search

    def __str__(self) -> str:
        """`412 nodes`, or how far it stayed from the bar."""
        if self.reached:
            return f"{self.nodes} nodes"
        return f"none: loss {self.loss:.2f} with {self.nodes} nodes"

    def is_far_from(self, nodes: int) -> bool:
        """Whether a circuit of so many nodes, not yet refined, is clearly better than this."""
        return not self.reached or self.nodes >= CLEARLY * nodes


def controls_of(model: Model) -> tuple[str, ...]:
    """The controls that a search in a model has: none in shuffled weights that cannot be made."""
    return ("shuffled_labels", *(["shuffled_weights"] if isinstance(model, Shuffles) else []))


@stage
def control(case: Case, name: str) -> Control:
    """Search with the budget of the real one, for sufficiency alone, where `name` says."""
    swapped = name == "shuffled_labels"
    subject = case.subject
    model, reference, fill = subject.model, case.reference, subject.fill
    ablation = subject.judge.runner.ablation
    if not swapped and isinstance(model, Shuffles):
        model = model.shuffled(seed=case.plan.seed)
        reference = measure(model, reference.tokens)
        fill = ablation.kind.fill(Given(reference)) if ablation.kind.constant else {}
    fills = {ablation: fill} if ablation.kind.constant else {}
    objective = Objective(model, fills, Demands((ablation,), necessity=False))
    pool = subject.pool.swapped(seed=case.plan.seed) if swapped else subject.pool
    if case.plan.method is Method.ATTRIBUTION:
        ranking = ranked(attributed(objective, fill, pool))
        runner = Runner(model, reference, ablation)
        return _of_ranking(case, runner, ranking, swapped=swapped)
    return _of_masks(case, name, objective, pool)


def _of_masks(case: Case, name: str, objective: Objective, pool: Prompts) -> Control:
    """The masks of the seeds of the search."""
    plan, model = case.plan, objective.model
    seeds = range(plan.seed, plan.seed + plan.seeds)
    masks = Masks(model, [Search(pool, seed) for seed in seeds], plan.masks)
    checkpoints = case.notes.about("steps", name).checkpoints()
    about = f"control of {case.subject.spec.circuit}: {name.replace('_', ' ')}"
    with reporting(about, plan.masks.steps) as reporter:
        for step in learn(objective, masks, plan.masks, checkpoints):
            reporter.at(step.step + 1)
    found = []
    for k, learnt in enumerate(masks.learnt()):
        nodes = learnt.smallest or masks.on(k)
        loss = _loss(objective, nodes, pool)
        reached = loss <= case.subject.judge.bar.max_loss
        found.append(Control(nodes.count, loss, reached=reached))
    return min(found, key=lambda c: (not c.reached, c.nodes if c.reached else c.loss))


@torch.inference_mode()
def _loss(objective: Objective, nodes: Nodes, pool: Prompts) -> float:
    on = {name: mask.float() for name, mask in masks_of(objective.model, [nodes]).items()}
    return float(objective.tried(on, pool).losses[0])


def _of_ranking(case: Case, runner: Runner, ranking: Sequence[Node], *, swapped: bool) -> Control:
    """The smallest beginning of a ranking that is good enough, or the best one that was tried."""
    judge = case.subject.judge
    signs = np.where(swaps(len(judge.pairs), seed=case.plan.seed), -1.0, 1.0) if swapped else 1.0
    tried: dict[int, float] = {}

    def first(circuits: Sequence[Nodes]) -> int | None:
        margins = runner.margins_many(judge.pairs, [View.circuit(nodes) for nodes in circuits])
        margins = margins * np.reshape(signs, (-1, 1))
        losses = np.logaddexp(0, -margins).mean(axis=2) @ judge.weights
        tried.update(zip((nodes.count for nodes in circuits), losses.tolist(), strict=True))
        return next((i for i, loss in enumerate(losses) if loss <= judge.bar.max_loss), None)

    nodes = smallest(first, ranking, most=len(ranking))
    if nodes is None:
        best = min(tried, key=lambda count: tried[count])
        return Control(best, tried[best], reached=False)
    return Control(nodes.count, tried[nodes.count], reached=True)
