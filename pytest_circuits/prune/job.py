"""One search for a circuit, from a behavior to nodes and the evidence that they do it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING

from pytest_circuits.circuit import WHOLE, Runner, count_edges
from pytest_circuits.circuit.encoding import Encoder
from pytest_circuits.circuit.interventions import fill_values
from pytest_circuits.errors import CircuitsError
from pytest_circuits.progress import reporting
from pytest_circuits.prompts import PromptSpace
from pytest_circuits.prune.discretise import eliminate, smallest, top
from pytest_circuits.prune.masks import MaskPlan, Masks, learn
from pytest_circuits.prune.quality import Bar, Quality, assess
from pytest_circuits.spec import Ablation, NecessaryClaim, SufficientClaim

if TYPE_CHECKING:
    from pytest_circuits.circuit import Nodes
    from pytest_circuits.circuit.encoding import Batch
    from pytest_circuits.model import Model, Reference
    from pytest_circuits.prompts import Pair
    from pytest_circuits.spec import Spec

# The prompts of the search never share a seed with those of the claims, which derive theirs from
# the specification's digest.
_TRAINING, _EVALUATION = 1_000_003, 9_000_000_000_019


class NotFoundError(CircuitsError):
    """No circuit reaches the bar."""


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """Settings of one search."""

    masks: MaskPlan = field(default_factory=MaskPlan)
    targets: tuple[float, ...] = (0.07, 0.03, 0.01)  # tried in turn, until one gives a circuit
    evaluation_pairs: int = 128
    # Stricter than the claims: their bounds leave room for the prompts that were not seen, and a
    # harmless update (a cast to bfloat16, say) moves the loss by some hundredths of a nat.
    loss_share: float = 0.6  # of the claim's max_loss
    rate_share: float = 0.3  # of the misses that the claim's rate allows
    left_share: float = 0.5  # of what the claim's max_rate allows above chance
    separation_share: float = 0.6  # of the protocol's margin

    @classmethod
    def sufficient_only(cls, masks: MaskPlan) -> PrunePlan:
        """A search that does not ask whether the model needs what it finds."""
        return cls(masks=replace(masks, backup_weight=0.0), left_share=inf, separation_share=inf)


@dataclass(frozen=True, slots=True)
class Found:
    """A circuit and how it does on the evaluation prompts."""

    nodes: Nodes
    edges: int
    quality: Quality
    learnt: int  # nodes that the masks left on
    ranked: int  # nodes after discretisation


def find_circuit(spec: Spec, model: Model, reference: Reference, plan: PrunePlan) -> Found:
    """Search for the smallest circuit of a behavior; NotFoundError when none is good enough."""
    if spec.ablation is Ablation.RESAMPLE:
        raise NotFoundError("prune learns masks under mean or zero ablation; resample is not one")
    space = PromptSpace(spec.behavior)
    pairs = space.sample(plan.evaluation_pairs, seed=_EVALUATION + plan.masks.seed)
    runner = Runner(model, reference, spec.ablation)
    bar = _bar(spec, plan)
    _require_behavior(runner, pairs, bar)
    for attempt, target in enumerate(plan.targets, start=1):
        masks = _learn(spec, model, reference, space, replace(plan.masks, target=target))
        try:
            nodes = _discretise(runner, masks, pairs, bar)
            break
        except NotFoundError:
            if attempt == len(plan.targets):
                raise
    ranked = nodes.count
    with reporting("removing nodes", ranked) as reporter:
        for smaller, quality in eliminate(runner, nodes, pairs, bar):
            nodes = smaller
            reporter.at(ranked - nodes.count, f"{nodes.count} nodes  loss {quality.loss:.3f}")
    return Found(
        nodes=nodes,
        edges=count_edges(nodes, model),
        quality=assess(runner, [nodes], pairs)[0],
        learnt=masks.count_on(),
        ranked=ranked,
    )


def _bar(spec: Spec, plan: PrunePlan) -> Bar:
    sufficient = spec.claims.sufficient or SufficientClaim(rate=0.95, max_loss=0.15)
    necessary = spec.claims.necessary or NecessaryClaim(max_rate=0.65)
    return Bar(
        max_loss=plan.loss_share * sufficient.max_loss,
        min_rate=1 - plan.rate_share * (1 - sufficient.rate),
        max_left=0.5 + plan.left_share * (necessary.max_rate - 0.5),
        max_separation=plan.separation_share * spec.protocol.margin,
    )


def _require_behavior(runner: Runner, pairs: tuple[Pair, ...], bar: Bar) -> None:
    rate = float((runner.margins(pairs, WHOLE) > 0).mean())
    if rate < bar.min_rate:
        raise NotFoundError(
            f"the whole model prefers the answer on {rate:.1%} of {2 * len(pairs)} prompts, which "
            f"is no behavior that a circuit could explain: at least {bar.min_rate:.1%} needed; "
            "look at the prompts, or take another model"
        )


def _learn(
    spec: Spec, model: Model, reference: Reference, space: PromptSpace, plan: MaskPlan
) -> Masks:
    encoder = Encoder(model)

    def batches(step: int) -> Batch:
        seed = _TRAINING * (plan.seed + 1) + step
        pairs: tuple[Pair, ...] = space.sample(plan.pairs, seed=seed)
        prompts = [p for pair in pairs for p in (pair.first, pair.second)]
        return encoder.batch(prompts, rows=len(prompts))

    masks = Masks(model, seed=plan.seed)
    fill = fill_values(reference, spec.ablation)
    with reporting(f"masks of {spec.circuit}", plan.steps) as reporter:
        for step in learn(model, fill, batches, plan, masks):
            reporter.at(
                step.step + 1,
                f"{step.nodes} nodes  loss {step.task_loss:.3f}  left {step.separation:.2f}",
            )
    return masks


def _discretise(runner: Runner, masks: Masks, pairs: tuple[Pair, ...], bar: Bar) -> Nodes:
    ranking = masks.ranked()
    most = min(2 * masks.count_on() + 64, len(ranking))
    nodes = smallest(runner, ranking, pairs, bar, most=most)
    if nodes is None:
        reached = assess(runner, [top(ranking, most)], pairs)[0]
        raise NotFoundError(
            f"no circuit of up to {most} nodes reaches task loss {bar.max_loss:.3f} with a "
            f"complement that separates no pair by {bar.max_separation:.2f} nats; the best of "
            f"that size has loss {reached.loss:.3f}, separation {reached.worst_separation:.2f}"
        )
    return nodes
