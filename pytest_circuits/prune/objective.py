"""What a search asks of masks, and how far they are from it, differentiable in them.

A circuit is tried alone under each ablation; with it, and it alone, ablated; with its edges cut and
its nodes alive; and with parts of the rest ablated besides. Which of these, its specification says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from pytest_circuits.circuit.partners import carried, from_neighbours
from pytest_circuits.model.protocol import Model, Wired
from pytest_circuits.prune.likeness import Likeness, likeness
from pytest_circuits.prune.pool import Prompts
from pytest_circuits.prune.soft_masks import margins, separation
from pytest_circuits.spec.ablations import Ablation

BySite = Mapping[str, Tensor]

PARTS = 2  # of the rest, that a step tries under each ablation
_BARELY = 0.03  # nats, by which a prompt that prefers the foil is still pressed
FLIP = 0.3  # nats, by which the foil is to be preferred where the circuit has the partner's values


@dataclass(frozen=True, slots=True)
class Demands:
    """What a specification asks of a circuit, as far as a search can ask it."""

    ablations: tuple[Ablation, ...]
    necessity: bool = True  # nothing does the task without the circuit
    edges: bool = False  # nor without its edges alone
    max_gap: float | None = None  # nats, what a part of the rest may cost; None: not asked
    few: int = 1  # elements of such a part, under a constant ablation
    min_correlation: float = 0.0  # of what nodes carry alone, where parts of the rest are asked
    max_attention: float = 1.0  # total variation, likewise
    turned: float = 1.0  # what a prompt that a part turns counts, of one that is wrong without
    risk: float = 0.01  # of bounds that claims draw so many of all pairs for:
    pairs: int = 500
    space: int = 0  # of as many; those that see all have no bounds

    @property
    def partners(self) -> bool:
        """Whether it is asked what the other prompts of pairs carry."""
        return any(ablation.kind.from_partner for ablation in self.ablations)

    @property
    def runs(self) -> int:
        """How often a step runs each prompt, without what is done in some steps alone."""
        turned = sum(ablation.kind.from_partner for ablation in self.ablations)
        ways = 1 + self.necessity + self.edges + PARTS * (self.max_gap is not None)
        inside = 4 * (self.max_gap is not None)  # the whole model twice, the circuit twice
        return len(self.ablations) * ways + turned * self.necessity + inside


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of the behavior where K circuits are taken away.

    nats: how far it is still there, for n prompts or pairs [K, n]; at most 0 is none of it. share:
    of the prompts, those that keep the answer, [K]. turned: the circuit has the partner's
    values, so that no prompt should; else half of them do.
    """

    nats: Tensor
    share: Tensor
    turned: bool

    @classmethod
    def of(cls, margins: Tensor, *, turned: bool) -> Left:
        """By margins [K, P]."""
        nats = margins + FLIP if turned else separation(margins)
        return cls(nats, _share(margins), turned)


@dataclass(slots=True)
class Tried:
    """How K circuits did, in nats.

    losses: task loss under each ablation, [K] each. left: what each way to take the circuit away
    leaves of the behavior. gaps: what parts of the rest cost above the whole model's loss,
    [K, parts]. missed: the share of the prompts that prefer the foil with them, [K, parts].
    frozen: the gap of the circuit alone with the whole model's norm scales, [K].
    """

    losses: list[Tensor] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    gaps: list[Tensor] = field(default_factory=list)
    missed: list[Tensor] = field(default_factory=list)
    frozen: Tensor | None = None  # where it is asked to be as in the whole model; so is this:
    inside: Likeness | None = None


class Objective:
    """Tries the circuits that masks describe in every way that is asked for.

    fills: what an ablated node becomes, by each constant ablation.
    """

    def __init__(self, model: Model, fills: Mapping[Ablation, BySite], demands: Demands) -> None:
        self.model, self.demands = model, demands
        self._fills = {
            ablation: {name: x.to(model.device) for name, x in fill.items()}
            for ablation, fill in fills.items()
        }
        outputs = ((name, site) for name, site in model.sites.items() if site.is_output)
        self._outputs = {n: torch.ones(site.width, device=model.device) for n, site in outputs}

    def tried(
        self,
        on: BySite,
        prompts: Prompts,
        parts: Mapping[Ablation, BySite] | None = None,
        *,
        inside: bool = True,
    ) -> Tried:
        """How circuits do; masks [K, D] by site, parts of the rest that stay [K, A, D].

        inside: whether circuits are seen inside too, where that is asked for.
        """
        found, demands = Tried(), self.demands
        carries = self._carried(prompts)
        whole = None if demands.max_gap is None else self._whole_loss(prompts)
        for ablation in demands.ablations:
            turned = ablation.kind.from_partner
            fill = carries if turned else self._fills[ablation]
            mine = (parts or {}).get(ablation, {})
            ways = 1 + demands.necessity * (1 + (turned and bool(self._outputs)))
            keep = {name: self._kept(name, mask, ways, mine) for name, mask in on.items()}
            by_run = margins(self.model, fill, keep, prompts)  # [K, S, P]
            found.losses.append(_loss(by_run[:, 0]))
            found.left.extend(Left.of(by_run[:, way], turned=turned) for way in range(1, ways))
            if whole is not None and by_run.shape[1] > ways:
                beside = by_run[:, ways:]
                found.gaps.append(_loss(beside) - whole[:, None])
                found.missed.append(_share(-beside))
            if demands.edges and isinstance(self.model, Wired):
                every = {name: torch.ones_like(mask)[:, None] for name, mask in on.items()}
                cut = margins(self.model, fill, every, prompts, cut=on)[:, 0]
                found.left.append(Left.of(cut, turned=turned))
        if whole is not None and inside:
            found.inside = likeness(self.model, next(iter(self._fills.values())), on, prompts)
            found.frozen = _loss(found.inside.frozen) - whole
        return found

    def gaps(self, on: BySite, prompts: Prompts, ablation: Ablation, parts: BySite) -> Tensor:
        """What parts of the rest cost, [K, A], where [K, A, D] by site of it stays."""
        turned = ablation.kind.from_partner
        fill = self._carried(prompts) if turned else self._fills[ablation]
        keep = {
            name: mask[:, None] + (1 - mask[:, None]) * parts[name] for name, mask in on.items()
        }
        loss = _loss(margins(self.model, fill, keep, prompts))
        return loss - self._whole_loss(prompts)[:, None]

    def _kept(self, name: str, mask: Tensor, ways: int, parts: BySite) -> Tensor:
        """What runs keep at a site: the circuit, its complement, that and what it writes, parts."""
        upstream = mask * (1 - self._outputs[name].to(mask)) if name in self._outputs else mask
        runs = torch.stack([mask, 1 - mask, 1 - upstream][:ways], dim=1)
        if name not in parts:
            return runs
        return torch.cat([runs, mask[:, None] + (1 - mask[:, None]) * parts[name]], dim=1)

    def _carried(self, prompts: Prompts) -> BySite:
        if not self.demands.partners:
            return {}
        tokens, last = prompts.tokens.flatten(0, 1), prompts.last.flatten()
        return from_neighbours(carried(self.model, tokens, last), prompts.places.flatten(0, 1))

    @torch.no_grad()
    def _whole_loss(self, prompts: Prompts) -> Tensor:
        every = {
            name: torch.ones(len(prompts.tokens), 1, site.width, device=self.model.device)
            for name, site in self.model.sites.items()
        }
        return _loss(margins(self.model, {}, every, prompts)[:, 0])


def _share(margins: Tensor) -> Tensor:
    """The share of prompts [..., P] that prefer the answer; its gradient is of what has to go."""
    above = F.relu(margins + _BARELY)  # a sigmoid is flat where it would be far to go
    return ((margins > 0).to(above) + above - above.detach()).mean(-1)


def _loss(margins: Tensor) -> Tensor:
    """Task loss of prompts [..., P] -> [...]."""
    return F.softplus(-margins).mean(-1)
