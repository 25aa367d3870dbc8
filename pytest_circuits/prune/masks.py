"""Learn which nodes a behavior needs: one mask a node, binary in every forward.

Gao et al. 2025, appendix A.5: a real parameter tau a node, mask Heaviside(tau) with the derivative
of a sigmoid as its surrogate gradient, mean ablation of what is masked out, tau clamped to [-1, 1].
The pressure towards few nodes is a dual variable that holds the loss at its target, so that one
setting serves every behavior; a fixed pressure collapses the mask or leaves it large.

The complement runs beside the circuit in the same forward. What it still tells apart counts as
loss, so that nodes on parallel paths are drawn into the circuit and not left as a backup. So does
what parts of the rest do to the circuit, which learn as it does, against it.

K searches, for other seeds or behaviors, run as one: everything has a circuit dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pytest_circuits.circuit.masks import masks_of
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.model.checkpoints import Checkpoint
from pytest_circuits.model.protocol import Model, widths_of
from pytest_circuits.prune.adversary import EVERY, Adversary, Parts
from pytest_circuits.prune.objective import Objective, Tried
from pytest_circuits.prune.plan import MaskPlan
from pytest_circuits.prune.pool import Prompts, together
from pytest_circuits.prune.price import PRICE
from pytest_circuits.prune.soft_masks import in_order
from pytest_circuits.prune.stages import NOWHERE, Checkpoints
from pytest_circuits.spec.ablations import Ablation

_TOKENS, _TOKENS_ON_CUDA = 1 << 13, 1 << 20  # of one forward; more searches take turns
_BARELY_OFF = -0.05  # tau of a node that a search does not start with
_SOONER = 0.2  # of tau at the start: such nodes go off before those that could take their place
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what AdamW remembers of a parameter
_MEASURED = 32  # pairs on which it is seen what all nodes come to
_AS_ALL = 1.1  # times their loss, where that is above the target
_SMOOTH = 0.1  # share of a step's loss in the running mean that drives the dual variable
_FAR, _NEARLY = 3.0, 1.5  # times the target, from where on nothing presses
_FROM = 0.35  # share of the steps, from where on circuits are seen inside: of few nodes by then
_SETTLES = 0.25  # share of the steps, the last ones, in which a search that asks for much settles
_SLOWEST = 0.05  # of the learning rate, at the end of such a search
_TRACE = 1e-4  # of a gap within its bounds: parts of the rest learn from it, masks hardly do


@dataclass(frozen=True, slots=True)
class Search:
    pool: Prompts  # K = 1
    seed: int
    forbidden: Nodes = field(default_factory=lambda: Nodes.of({}))  # may not be kept
    first: Nodes | None = None  # nodes that are on at the start; None: all of them
    priced: Nodes = field(default_factory=lambda: Nodes.of({}))  # of other circuits: they cost more


@dataclass(frozen=True, slots=True)
class MaskStep:
    step: int
    loss: Tensor  # [K] nats: task loss of the circuit, and what the complement adds to it
    nodes: Tensor  # [K]


@dataclass(frozen=True, slots=True)
class Learnt:
    ranking: tuple[tuple[str, int], ...]  # all that may be kept, most wanted first
    smallest: Nodes | None  # the smallest mask on the way whose loss was at its target


class Masks:
    """The parameters of K searches, [K, D] by hook point, and what they have met on the way."""

    def __init__(self, model: Model, searches: Sequence[Search], plan: MaskPlan) -> None:
        self.model, self.searches = model, searches
        drawn = [torch.Generator().manual_seed(search.seed) for search in searches]
        self.tau = {
            hook: (
                plan.start
                + plan.spread * torch.stack([torch.rand(width, generator=g) for g in drawn])
            )
            .to(model.device)
            .requires_grad_()
            for hook, width in widths_of(model).items()
        }
        self.costs = {hook: torch.ones_like(tau.detach()) for hook, tau in self.tau.items()}
        self.history = {hook: torch.zeros_like(tau.detach()) for hook, tau in self.tau.items()}
        self.smallest: list[Nodes | None] = [None] * len(searches)  # that was good enough
        self._forbid()
        self._begin()

    def learnt(self) -> list[Learnt]:
        """What each search has found so far.

        Nodes rank by tau, then by its mean over the search, because many end at the clamp, then by
        their place in the model.
        """
        values = {
            hook: torch.stack([-tau.detach(), -self.history[hook]], dim=-1)  # [K, D, 2]
            for hook, tau in self.tau.items()
        }
        found = []
        for k, smallest in enumerate(self.smallest):
            mine = {hook: x[k].tolist() for hook, x in values.items()}
            ranking = in_order(mine, without=set(self.searches[k].forbidden))
            found.append(Learnt(tuple(ranking), smallest))
        return found

    def on(self, k: int) -> Nodes:
        """The nodes that the mask of one search keeps."""
        return Nodes.of(
            {hook: (tau[k] >= 0).nonzero().flatten().tolist() for hook, tau in self.tau.items()}
        )

    def hard(self) -> dict[str, Tensor]:
        """What each search keeps, [K, D] by hook point."""
        return {hook: (tau.detach() >= 0).float() for hook, tau in self.tau.items()}

    def remember(self, nodes: Tensor, good: Tensor) -> None:
        """Keep the masks that are smaller than any before, before they change: nodes, good: [K]."""
        for k, count in enumerate(nodes.tolist()):
            known = self.smallest[k]
            if good[k] and (known is None or count < known.count):
                self.smallest[k] = self.on(k)

    @torch.no_grad()
    def clamp(self, *, share: float) -> None:
        """Hold the parameters in their range; add a share of them to their history."""
        for hook, tau in self.tau.items():
            tau.clamp_(-1, 1)
            self.history[hook] += share * tau
        self._forbid()

    @torch.no_grad()
    def _forbid(self) -> None:
        for k, search in enumerate(self.searches):
            for hook, channels in search.forbidden.channels:
                self.tau[hook][k, list(channels)] = -1

    @torch.no_grad()
    def _begin(self) -> None:
        """Switch off what a search does not start with, near enough to zero to come back.

        What it would have in common with another circuit costs more, and begins nearer to that.
        """
        for k, search in enumerate(self.searches):
            for hook, channels in search.priced.channels:
                self.costs[hook][k, list(channels)] = PRICE
                self.tau[hook][k, list(channels)] *= _SOONER
            if search.first is not None:
                for hook, on in masks_of(self.model, [search.first]).items():
                    self.tau[hook][k, ~on[0]] = _BARELY_OFF


class Course:
    """Where K searches stand between two steps."""

    def __init__(self, masks: Masks, objective: Objective, plan: MaskPlan) -> None:
        self._masks, self._pairs = masks, plan.pairs_of(objective.demands.runs)
        self.adversary = Adversary(objective, [search.seed for search in masks.searches])
        self.done = 0
        self.optimizer = torch.optim.AdamW(
            list(masks.tau.values()), lr=plan.lr, betas=(0.9, 0.95), weight_decay=plan.weight_decay
        )
        seeds = (np.array([search.seed, 1], dtype=np.uint64) for search in masks.searches)
        self._draws = [np.random.Generator(np.random.Philox(key=seed)) for seed in seeds]
        device = masks.model.device
        self.pressure = torch.full((len(self._draws),), plan.pressure, device=device)
        self.target = _reachable(objective, masks, plan)  # nats, [K]
        self.smooth = self.target.clone()  # running mean of the loss, [K]

    def prompts(self) -> Prompts:
        drawn = zip(self._masks.searches, self._draws, strict=True)
        return together([s.pool.draw(random, self._pairs) for s, random in drawn])

    def state(self) -> Checkpoint:
        """Everything that the next steps depend on."""
        masks = self._masks
        tensors = {"pressure": self.pressure, "smooth": self.smooth, **self.adversary.tensors()}
        for hook, tau in masks.tau.items():
            tensors |= {f"tau/{hook}": tau, f"history/{hook}": masks.history[hook]}
            moments = self.optimizer.state[tau]
            tensors |= {f"{name}/{hook}": moments[name] for name in _MOMENTS if name in moments}
        smallest = [None if nodes is None else dict(nodes.channels) for nodes in masks.smallest]
        return Checkpoint(self.done, tensors, {"smallest": smallest})

    @torch.no_grad()
    def restore(self, found: Checkpoint) -> None:
        self.done, tensors = found.step, found.tensors
        self.pressure.copy_(tensors["pressure"])
        self.smooth.copy_(tensors["smooth"])
        self.adversary.restore(tensors)
        for hook, tau in self._masks.tau.items():
            tau.copy_(tensors[f"tau/{hook}"])
            self._masks.history[hook].copy_(tensors[f"history/{hook}"])
            self.optimizer.state[tau] |= {
                name: tensors[f"{name}/{hook}"].to(tau.device if name != "step" else "cpu")
                for name in _MOMENTS
                if f"{name}/{hook}" in tensors
            }
        self._masks.smallest = [
            None if channels is None else Nodes.of(channels) for channels in found.state["smallest"]
        ]
        for _ in range(self.done):  # the draws are where they were
            self.prompts()


@torch.no_grad()
def _reachable(objective: Objective, masks: Masks, plan: MaskPlan) -> Tensor:
    """The loss that masks are held at: the target, or what all nodes come to, [K].

    A model may not be sure of its answers, and tell prompts apart by its bigram table with every
    node ablated. No mask is better there, and under a target below it nothing would ever press.
    """
    prompts = together([search.pool.first(_MEASURED) for search in masks.searches])
    every = {hook: torch.ones_like(tau) for hook, tau in masks.tau.items()}
    target = prompts.tokens.new_full((len(masks.searches),), plan.target, dtype=torch.float32)
    step = _Step(objective, masks, plan, target, prompts, lambda _: {}, inside=False)
    return torch.maximum(target, _AS_ALL * step.loss_of(every))


def learn(
    objective: Objective, masks: Masks, plan: MaskPlan, checkpoints: Checkpoints = NOWHERE
) -> Iterator[MaskStep]:
    """Search in place, yielding after every step, from the newest checkpoint if there is one."""
    course, parameters = Course(masks, objective, plan), list(masks.tau.values())
    if (found := checkpoints.load()) is not None:
        course.restore(found)
    pressure, smooth, adversary = course.pressure, course.smooth, course.adversary
    target = course.target
    demanding = objective.demands.max_gap is not None
    for step in range(course.done, plan.steps):
        for group in course.optimizer.param_groups:
            group["lr"] = plan.lr * _speed(step / plan.steps, again=demanding)
        prompts = course.prompts()
        course.optimizer.zero_grad(set_to_none=True)
        # Where the loss is far above its target, nothing presses but the way back; at the end, not
        # even where it is a little above it.
        settling = demanding and step >= (1 - _SETTLES) * plan.steps
        far = _NEARLY if settling else _FAR
        room = ((far * target - smooth) / ((far - 1) * target)).clamp(0, 1)
        inside = step >= _FROM * plan.steps
        tried = _Step(
            objective, masks, plan, target, prompts, partial(adversary.parts, step), inside
        )
        loss, nodes, unlike = tried.descend(room * pressure)
        if not demanding:
            masks.remember(nodes, (loss <= target) & (smooth <= 2 * target))
        _clip(parameters)
        course.optimizer.step()
        masks.clamp(share=1 / plan.steps)
        adversary.worsen(step)
        if step % EVERY == 0:
            adversary.attack(masks.hard(), prompts)
        smooth += _SMOOTH * (loss + settling * unlike - smooth)
        pressure *= (plan.gain * ((target - smooth) / target).clamp(-3, 1)).exp()
        course.done = step + 1
        checkpoints.save(course.state, now=course.done == plan.steps)
        yield MaskStep(step, loss, nodes)


@dataclass(frozen=True, slots=True)
class _Step:
    """What one step is made of."""

    objective: Objective
    masks: Masks
    plan: MaskPlan
    target: Tensor  # [K] nats
    prompts: Prompts
    parts: Callable[[slice], Mapping[Ablation, Parts]]  # of the rest, of some searches
    inside: bool  # whether circuits are seen inside

    def descend(self, pressure: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of all searches, a few at a time.

        Returns of each its loss, its nodes, and how unlike the whole model it is inside, [K].
        """
        losses, counts, unlike = torch.zeros(3, len(pressure), device=pressure.device)
        tokens = self.prompts.tokens[0].numel() * self.objective.demands.runs
        on_cuda = self.objective.model.device.type == "cuda"
        few = max(1, (_TOKENS_ON_CUDA if on_cuda else _TOKENS) // tokens)
        for start in range(0, len(pressure), few):
            some = slice(start, start + few)
            on = {hook: _heaviside(tau[some]) for hook, tau in self.masks.tau.items()}
            prompts, parts = self.prompts.part(some), self.parts(some)
            tried = self.objective.tried(on, prompts, parts, inside=self.inside)
            loss, inside = self._loss(tried, self.target[some]), self._inside(tried)
            nodes = torch.stack([mask.detach().sum(1) for mask in on.values()]).sum(0)
            costs = [(mask * self.masks.costs[hook][some]).sum(1) for hook, mask in on.items()]
            pressed = pressure[some] * torch.stack(costs).sum(0)
            (loss + inside + pressed).sum().backward()  # type: ignore[no-untyped-call]
            losses[some], counts[some] = loss.detach(), nodes
            unlike[some] = inside.detach()
        return losses, counts, unlike

    def loss_of(self, on: Mapping[str, Tensor]) -> Tensor:
        """Of some masks [K, D] alone, [K]."""
        return self._loss(self.objective.tried(on, self.prompts, inside=False), self.target)

    def _loss(self, tried: Tried, target: Tensor) -> Tensor:
        """Task loss under the first ablation, and what is too much of all else, [K]."""
        plan, room = self.plan, self.plan.gap_share * (self.objective.demands.max_gap or 0)
        loss, *others = tried.losses
        for other in others:
            loss = loss + F.relu(other - target)
        for left in tried.left:
            nats = F.relu(left.nats)
            loss = loss + plan.backup_weight * (nats.mean(-1) + nats.amax(-1))
        for gap in tried.gaps:
            loss = loss + (F.relu(gap - room) + _TRACE * gap).sum(-1)
        return loss

    def _inside(self, tried: Tried) -> Tensor:
        """What is unlike the whole model inside, [K]; it drives the pressure at the end alone.

        Were it to do so before, a search that cannot meet it soon would keep many nodes.
        """
        if tried.inside is None or tried.frozen is None:
            return self.prompts.tokens.new_zeros(())
        plan, demands = self.plan, self.objective.demands
        room, inside = plan.gap_share * (demands.max_gap or 0), tried.inside
        least = 1 - plan.unlike_share * (1 - demands.min_correlation)
        apart = F.relu(inside.attention - plan.unlike_share * demands.max_attention).sum(-1)
        return F.relu(tried.frozen - room) + plan.inside_weight * (
            apart + F.relu(least - inside.correlation)
        )


def _speed(done: float, *, again: bool) -> float:
    """Share of the learning rate, which falls; again: anew from where circuits are seen inside."""
    left = 1 - done
    return max(_SLOWEST, left / (1 - _FROM)) if again and done >= _FROM else left


def _heaviside(tau: Tensor) -> Tensor:
    """1 where tau >= 0, else 0; in the backward pass a sigmoid of temperature 1."""
    soft = tau.sigmoid()
    return (tau >= 0).float() + soft - soft.detach()


@torch.no_grad()
def _clip(parameters: Sequence[Tensor]) -> None:
    """Scale the gradients of each search down to a norm of at most 1."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.stack([g.square().sum(1) for g in gradients]).sum(0).sqrt()  # [K]
    for gradient in gradients:
        gradient.div_(norm.clamp(min=1.0).unsqueeze(1))
