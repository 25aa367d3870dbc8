"""Parts of the rest that hurt, against which masks are learnt.

Random parts of any size; under `contrast` parts that are learnt in the same backward pass as the
masks, in the other direction, and those that an attack finds from nothing and from all of the rest;
under a constant ablation the few elements that hurt most, ablated in the whole model or left intact
beside the circuit. First order ranks large effects badly, so what an attack finds is proposed by
gradient and chosen by what it costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_circuits.model.protocol import Model, widths_of
from pytest_circuits.prune.objective import PARTS, Demands, Objective
from pytest_circuits.prune.pool import Prompts
from pytest_circuits.spec.ablations import Ablation

RANDOM = LEARNT = FEW = PARTS // 2  # parts of a step, of each kind
EVERY = 10  # steps after which few elements are looked for anew
_PROPOSED = 12  # elements that are measured, at each end
_FLIPPED = (4, 16, 64, 256, 512, 1024)  # elements that change together in a step of an attack
_STEPS = 2  # of it
_KNOWN = 4  # parts that it found, so many of which are remembered
_RENEWED = 0.05  # chance that a learnt part begins anew, a step
_DRAWN, _AGAIN = 2, 3  # streams of random numbers; prompts have another

Parts = dict[str, Tensor]  # [K, A, D] by site, 1 for a node of the rest that stays


class Adversary:
    """The parts of the rest of K searches, and how they get worse."""

    def __init__(self, objective: Objective, seeds: Sequence[int]) -> None:
        self._objective, self._seeds = objective, seeds
        self._model: Model = objective.model
        self._widths = widths_of(self._model)
        self.learnt: dict[Ablation, Tensor] = {}  # [K, LEARNT, all nodes], above 0 stays
        self.few: dict[Ablation, Tensor] = {}  # [K, parts, all nodes], 1 stays; of attacks
        if self._demands.max_gap is None:
            return
        for ablation in self._demands.ablations:
            if ablation.kind.from_partner:
                randoms = (self._random(k, 0, _AGAIN) for k in self._all)
                drawn = [rng.normal(size=(LEARNT, self._size)) for rng in randoms]
                found = self._tensor(np.stack(drawn)) / 10
                self.learnt[ablation] = found.requires_grad_()

    @property
    def _demands(self) -> Demands:
        return self._objective.demands

    @property
    def _all(self) -> range:
        return range(len(self._seeds))

    @property
    def _size(self) -> int:
        return sum(self._widths.values())

    def _random(self, k: int, step: int, stream: int) -> np.random.Generator:
        """The same for a search and a step, whatever was drawn before."""
        key = np.array([self._seeds[k], (step + 1) * 4 + stream], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=key))

    def _tensor(self, x: NDArray[Any]) -> Tensor:
        return torch.from_numpy(x).float().to(self._model.device)

    def _by_site(self, x: Tensor) -> Parts:
        """[..., all nodes] -> [..., D] by site."""
        return dict(
            zip(self._widths, torch.split(x, list(self._widths.values()), dim=-1), strict=True)
        )

    def parts(self, step: int, some: slice) -> dict[Ablation, Parts]:
        """What stays of the rest of some searches in each run of a step, under each ablation."""
        if self._demands.max_gap is None:
            return {}
        found = {}
        randoms = [self._random(k, step + 1, _DRAWN) for k in self._all[some]]
        for ablation in self._demands.ablations:
            drawn = [rng.random((RANDOM, self._size)) < rng.random((RANDOM, 1)) for rng in randoms]
            runs = [self._tensor(np.stack(drawn))]
            if ablation in self.learnt:
                x = self.learnt[ablation][some]
                soft = x.sigmoid()
                runs.append((x >= 0).float() + soft - soft.detach())
            if ablation in self.few:
                known = self.few[ablation][some]
                chosen = [(step * FEW + i) % known.shape[1] for i in range(FEW)]
                runs.append(known[:, chosen])
            found[ablation] = self._by_site(torch.cat(runs, dim=1))
        return found

    @torch.no_grad()
    def worsen(self, step: int) -> None:
        """Climb by the gradients of the step; now and then begin anew."""
        for x in self.learnt.values():
            if x.grad is not None:
                norm = x.grad.norm(dim=-1, keepdim=True)
                x.add_(x.grad / norm.clamp(min=1e-12)).clamp_(-1, 1)
                x.grad = None
            for k in self._all:
                rng = self._random(k, step + 1, _AGAIN)
                again = rng.random(LEARNT) < _RENEWED
                fresh = self._tensor(rng.normal(size=(LEARNT, self._size))) / 10
                x[k] = torch.where(torch.from_numpy(again)[:, None].to(x.device), fresh, x[k])

    def attack(self, on: Mapping[str, Tensor], prompts: Prompts) -> None:
        """Look for the parts that hurt circuits most now; on: masks [K, D], hard."""
        if self._demands.max_gap is None:
            return
        kept = torch.cat([on[name] for name in self._widths], dim=-1)  # [K, all nodes]
        each = [slice(k, k + 1) for k in self._all]  # one at a time: there are many candidates
        for ablation in self._demands.ablations:
            if ablation.kind.from_partner:
                worst = [self._worst(ablation, kept[one], prompts.part(one)) for one in each]
                known = [self.few[ablation]] if ablation in self.few else []
                self.few[ablation] = torch.cat([torch.cat(worst), *known], dim=1)[:, :_KNOWN]
            else:
                found = [
                    self._at_end(ablation, kept[one], prompts.part(one), end)
                    for one in each
                    for end in (1.0, 0.0)
                ]
                self.few[ablation] = torch.cat(found).view(len(each), -1, kept.shape[1])

    def _at_end(self, ablation: Ablation, kept: Tensor, prompts: Prompts, end: float) -> Tensor:
        """Parts [K, 3, all] that differ in few elements from all (1) or nothing (0) of the rest."""
        part = torch.full_like(kept, end)[:, None].requires_grad_()
        gaps = self._gaps(ablation, kept, prompts, part)
        (slope,) = torch.autograd.grad(gaps.sum(), part)
        gain = torch.where(kept > 0, -torch.inf, slope[:, 0] * (1 - 2 * end))
        proposed = gain.topk(min(_PROPOSED, self._size), dim=-1).indices  # [K, proposed]
        single = torch.full_like(kept, end)[:, None].repeat(1, proposed.shape[1], 1)
        single.scatter_(2, proposed[..., None], 1 - end)
        with torch.no_grad():
            cost = self._gaps(ablation, kept, prompts, single)
        best = proposed.gather(1, cost.topk(3, dim=-1).indices)  # [K, 3]
        few = torch.full_like(kept, end)[:, None].repeat(1, 3, 1)
        for row, chosen in enumerate(((0,), (0, 1), (0, 2))):
            some = [best[:, i] for i in (chosen if self._demands.few > 1 else (row,))]
            few[:, row].scatter_(1, torch.stack(some, dim=1), 1 - end)
        return few

    def _worst(self, ablation: Ablation, kept: Tensor, prompts: Prompts) -> Tensor:
        """The worst part of any size that is found from each end, [1, 2, all]."""
        best = torch.stack([torch.ones_like(kept), torch.zeros_like(kept)], dim=1)
        for _ in range(_STEPS):
            part = best.clone().requires_grad_()
            gaps = self._gaps(ablation, kept, prompts, part)
            (slope,) = torch.autograd.grad(gaps.sum(), part)
            gain = torch.where(kept[:, None] > 0, -torch.inf, slope * (1 - 2 * best))[0]
            order = gain.argsort(dim=-1, descending=True)  # [2, all]
            several = [best[0]]
            for count in _FLIPPED:
                chosen = order[:, :count]
                several.append(best[0].scatter(1, chosen, 1 - best[0].gather(1, chosen)))
            tried = torch.stack(several, dim=1)  # [2, tried, all]
            with torch.no_grad():
                cost = self._gaps(ablation, kept, prompts, tried.flatten(0, 1)[None])
            most = cost.view(len(tried), -1).argmax(1)
            best = tried[torch.arange(len(tried)), most][None]
        return best

    def _gaps(self, ablation: Ablation, kept: Tensor, prompts: Prompts, part: Tensor) -> Tensor:
        """What parts [K, A, all] cost, [K, A]."""
        return self._objective.gaps(self._by_site(kept), prompts, ablation, self._by_site(part))

    def tensors(self) -> dict[str, Tensor]:
        """Its state, for a checkpoint."""
        return {
            **{f"learnt/{ablation}": x.detach() for ablation, x in self.learnt.items()},
            **{f"few/{ablation}": x for ablation, x in self.few.items()},
        }

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        for ablation, x in self.learnt.items():
            x.copy_(tensors[f"learnt/{ablation}"])
        for ablation in self._demands.ablations:
            if f"few/{ablation}" in tensors:
                self.few[ablation] = tensors[f"few/{ablation}"].to(self._model.device)
