"""Contrast pairs that are learnt beside the text, and a price on the nodes that they hang on.

What a circuit has to hold is what moves the answer: the nodes that carry another value in the other
prompt of a pair, and those whose value differs from what they have in text at large. Training on
text alone spreads both over hundreds of nodes. Here every node pays for its effect on the answer,

    e = sum over tokens of |x - x'| |dm/dx|, in nats,

where m is the margin of the answer over the foil and x' what ablation would put in its place (by
text at large, the size of the sum: a mean is the same at every token): a first-order estimate
(attribution patching, Nanda 2023; Syed et al. 2023). It pays e / (e + small), so that few nodes of
large effect are cheaper than many of small effect. The slope dm/dx counts as given: a node gets
cheaper by carrying less, not by being read less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pytest_circuits.circuit.encoding import Encoder, Reader
from pytest_circuits.model.sparse.gpt import Access, SparseGPT
from pytest_circuits.model.tokenizer import Tokenizer
from pytest_circuits.prompts.space import Pair, prompts_of
from pytest_circuits.train.behaviors import Tokens, learnt
from pytest_circuits.train.config import Pairs, TrainConfig

BySite = Mapping[str, Tensor]

_DRAWS = 1  # of the key of a step's random numbers; rows of text have another


@dataclass(frozen=True, slots=True)
class Prompts:
    """Both members of P / 2 pairs each, in turn."""

    tokens: Tensor  # [P, T] ids, right-padded
    last: Tensor  # [P] index of each prompt's last token
    choices: Tensor  # [P, 2] ids of answer and foil
    places: Tensor  # [P, T] index of the partner's token that corresponds to each


class PairLoss:
    """What the pairs of some behaviors add to the loss of a step."""

    def __init__(
        self, plan: Pairs, behaviors: Mapping[str, Sequence[Pair]], reader: Reader, *, seed: int
    ) -> None:
        """Raises SpecError where the tokens of a pair do not correspond."""
        self._plan, self._seed = plan, seed
        self._pools = [encoded(pairs, reader) for _, pairs in sorted(behaviors.items())]

    def of(self, model: SparseGPT, means: BySite, *, step: int, progress: float) -> Tensor:
        """Nats, a scalar.

        means: what each node has in text at large, [width] by site. step: which draw. progress:
        share of the run; prices rise to their full height over the first part of it.
        """
        plan = self._plan
        prompts, groups = self._drawn(step)
        effects = Effects.of(model, prompts, means)
        margins = torch.cat([effects.margins, turned(model, prompts)])
        rising = min(1.0, progress / plan.rise) if plan.rise else 1.0
        loss = plan.task_weight * F.softplus(-margins).mean()
        for price, found in (
            (plan.cue_price, effects.by_cue),
            (plan.text_price, effects.by_text),
        ):
            if price:
                loss = loss + rising * price * _count(found, groups, plan.small)
        return loss

    def _drawn(self, step: int) -> tuple[Prompts, int]:
        """The prompts of a step, those of a behavior side by side, and of how many they are."""
        plan = self._plan
        rng = np.random.Generator(np.random.Philox(key=[self._seed, step], counter=_DRAWS))
        count = min(plan.drawn, len(self._pools))
        chosen = rng.choice(len(self._pools), size=count, replace=False)
        parts = [_some(self._pools[index], plan.pairs, rng) for index in chosen]
        return _together(parts), count


def pair_loss(
    config: TrainConfig, tokenizer: Tokenizer, *, base: Path, device: torch.device
) -> PairLoss | None:
    """What pairs add to the loss, where a configuration has some learnt.

    base: folder from which its paths start. Raises what `learnt` and `PairLoss` raise.
    """
    if config.pairs is None:
        return None
    reader = Tokens(tokenizer, config.shape.max_tokens, device)
    return PairLoss(config.pairs, learnt(config, base, tokenizer), reader, seed=config.seed)


def encoded(pairs: Sequence[Pair], reader: Reader) -> Prompts:
    """All of some pairs; SpecError where the tokens of a pair do not correspond."""
    encoder, prompts = Encoder(reader), prompts_of(pairs)
    batch = encoder.batch(prompts, rows=len(prompts))
    places = torch.zeros_like(batch.tokens)
    for row, prompt in enumerate(prompts):
        found = encoder.places(prompt)
        places[row, : len(found)] = torch.tensor(found, device=reader.device)
    return Prompts(batch.tokens, batch.last, batch.choices, places)


def _some(pool: Prompts, pairs: int, rng: np.random.Generator) -> Prompts:
    first = 2 * rng.integers(len(pool.tokens) // 2, size=pairs)
    rows = torch.from_numpy(np.stack([first, first + 1], axis=1).ravel()).to(pool.tokens.device)
    return Prompts(pool.tokens[rows], pool.last[rows], pool.choices[rows], pool.places[rows])


def _together(parts: Sequence[Prompts]) -> Prompts:
    longest = max(part.tokens.shape[1] for part in parts)

    def padded(x: Tensor) -> Tensor:
        return F.pad(x, (0, longest - x.shape[1]))

    return Prompts(
        torch.cat([padded(part.tokens) for part in parts]),
        torch.cat([part.last for part in parts]),
        torch.cat([part.choices for part in parts]),
        torch.cat([padded(part.places) for part in parts]),
    )


@dataclass(frozen=True, slots=True)
class Effects:
    """What the nodes do to the margins of prompts if they are ablated at all tokens, in nats."""

    margins: Tensor  # [P] of the answer over the foil
    by_cue: dict[str, Tensor]  # by the partner's values, [P, width] by site
    by_text: dict[str, Tensor]  # by the means of text

    @classmethod
    def of(cls, model: SparseGPT, prompts: Prompts, means: BySite) -> Effects:
        """First-order, differentiable in what nodes carry. means: [width] by site."""
        carried: dict[str, Tensor] = {}  # [P, T or 1, width]

        def record(name: str, x: Tensor) -> Tensor:
            carried[name] = x
            return x

        logits = model(prompts.tokens, Access(record), at=prompts.last)  # [P, V]
        answer, foil = logits.gather(1, prompts.choices).unbind(-1)
        margins = answer - foil
        slopes = torch.autograd.grad(margins.sum(), list(carried.values()), retain_graph=True)
        places = torch.arange(prompts.tokens.shape[1], device=prompts.tokens.device)
        there = (places <= prompts.last[:, None])[..., None]  # [P, T, 1]
        by_cue, by_text = {}, {}
        for (name, x), slope in zip(carried.items(), slopes, strict=True):
            reach = slope.detach() * (there if x.shape[1] > 1 else 1)
            by_cue[name] = ((x - _partners(x, prompts.places)) * reach).abs().sum(1)
            by_text[name] = ((x - means[name]) * reach).sum(1).abs()
        return cls(margins, by_cue, by_text)


def exchanged(prompts: Prompts) -> tuple[Tensor, Tensor]:
    """Prompts whose tokens are those that correspond to theirs: [R, T], and their rows [R].

    Of each prompt for which that is not its partner, because their cues have different numbers of
    tokens. A model may read a token of the longer one to which none corresponds; then the other
    prompt's values cannot change the answer, and no circuit holds under them.
    """
    other = prompts.tokens.view(-1, 2, prompts.tokens.shape[1]).flip(1).flatten(0, 1)
    tokens = other.gather(1, prompts.places)
    rows = (prompts.last != prompts.last.view(-1, 2).flip(1).flatten()).nonzero().flatten()
    return tokens[rows], rows


def turned(model: SparseGPT, prompts: Prompts) -> Tensor:
    """Margins of the foil over the answer where tokens are exchanged, [R]; it has to lead there."""
    tokens, rows = exchanged(prompts)
    if not len(rows):
        return torch.zeros(0, device=tokens.device)
    logits = model(tokens, at=prompts.last[rows])
    answer, foil = logits.gather(1, prompts.choices[rows]).unbind(-1)
    margins: Tensor = foil - answer
    return margins


def _partners(x: Tensor, places: Tensor) -> Tensor:
    """What the other prompts of the pairs carry where they correspond, [P, T or 1, width]."""
    other = x.view(-1, 2, *x.shape[1:]).flip(1).flatten(0, 1)
    return other if x.shape[1] == 1 else other.gather(1, places[..., None].expand_as(other))


def _count(effects: BySite, groups: int, small: float) -> Tensor:
    """How many nodes the answers hang on, a mean over behaviors; one of effect `small` is a half.

    A behavior's prompts share its nodes: effects are means over them.
    """
    counts = []
    for x in effects.values():
        mean = x.view(groups, -1, x.shape[-1]).mean(1)  # [groups, width]
        counts.append((mean / (mean + small)).sum(-1))
    return torch.stack(counts).sum(0).mean()
