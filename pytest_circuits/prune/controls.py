"""What the same search finds where there is nothing to find.

Masks are an expressive learner: they find circuits for behaviors that make no sense and in models
that have learnt nothing. So every result stands beside two mask searches with the same steps and
seeds: one for the behavior with answer and foil swapped in half of the pairs, one in the model with
the entries of every weight matrix shuffled. Both ask for sufficiency alone, which is the easier
thing. Neither is refined, so that they are compared with the circuit as it was before it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from pytest_circuits.circuit.masks import masks_of
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.model.protocol import Model, Shuffles
from pytest_circuits.model.reference import measure
from pytest_circuits.prune.masks import Masks, Search, learn
from pytest_circuits.prune.objective import Demands, Objective
from pytest_circuits.prune.pool import Prompts
from pytest_circuits.prune.soft_masks import alone, margins
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
    subject, plan = case.subject, case.plan
    model, fill, pool = subject.model, subject.fill, subject.pool
    if name == "shuffled_labels":
        pool = pool.swapped(seed=plan.seed)
    elif isinstance(model, Shuffles):
        model = model.shuffled(seed=plan.seed)
        fill = subject.judge.runner.ablation.kind.fill(Given(measure(model, case.reference.tokens)))
    ablation = subject.judge.runner.ablation
    objective = Objective(model, {ablation: fill}, Demands((ablation,), necessity=False))
    seeds = range(plan.seed, plan.seed + plan.seeds)
    masks = Masks(model, [Search(pool, seed) for seed in seeds], plan.masks)
    checkpoints = case.notes.about("steps", name).checkpoints()
    about = f"control of {subject.spec.circuit}: {name.replace('_', ' ')}"
    with reporting(about, plan.masks.steps) as reporter:
        for step in learn(objective, masks, plan.masks, checkpoints):
            reporter.at(step.step + 1)
    found = []
    for k, learnt in enumerate(masks.learnt()):
        nodes = learnt.smallest or masks.on(k)
        loss = _loss(model, fill, nodes, pool)
        found.append(Control(nodes.count, loss, reached=loss <= subject.judge.bar.max_loss))
    return min(found, key=lambda c: (not c.reached, c.nodes if c.reached else c.loss))


@torch.inference_mode()
def _loss(model: Model, fill: Mapping[str, Tensor], nodes: Nodes, pool: Prompts) -> float:
    on = {name: mask.float() for name, mask in masks_of(model, [nodes]).items()}
    return float(F.softplus(-margins(model, fill, alone(on), pool)).mean())
