"""What some tokens of a prompt send on, exchanged for what those of another prompt send.

All that later tokens can see of a token are its keys and values, layer by layer; of the last token
the unembedding sees the residual stream. Exchanging all of that gives the other prompt's logits.
Exchanging a part of it shows whether anything is made of these tokens at all: two paths from them
that cancel each other stay hidden until one of them is exchanged alone.

Letters in shapes: K parts, B changes, N = K * B rows, T tokens, D channels of a hook point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pytest_circuits.circuit.encoding import Batch, Encoder, Floats, floats
from pytest_circuits.circuit.masks import mixing, over_channels
from pytest_circuits.circuit.nodes import grouped
from pytest_circuits.circuit.runner import CIRCUITS, ROWS, Runner
from pytest_circuits.model.protocol import Kind, Model, Site, sites_of, whole_of
from pytest_circuits.prompts.space import Pair

RANDOM_PARTS = 16  # of the channels, each in with probability one half


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the channels by which a token is seen by others, or by the unembedding."""

    name: str
    channels: Mapping[str, Tensor]  # by site, [width] bool


def sent_by(model: Model) -> dict[str, Site]:
    """The sites that show all that a token sends on: keys and values, and what is read out at last.

    Whatever its circuit is chosen among. Empty where a model does not show all of them: what is
    exchanged would then be a part, and a preference that does not move would say nothing.
    """
    model = whole_of(model)
    sent = sites_of(model, Kind.KEY, Kind.VALUE, Kind.KEYS_VALUES)
    layers = {site.layer for site in model.sites.values()} - {None}
    last = {name: s for name, s in sites_of(model, Kind.RESIDUAL).items() if s.layer is None}
    shown = [
        {s.layer for s in sent.values() if s.kind in (kind, Kind.KEYS_VALUES)}
        for kind in (Kind.KEY, Kind.VALUE)
    ]
    complete = layers and last and all(layers == some for some in shown)
    return sent | last if complete else {}


def parts_of(model: Model, *, seed: int) -> tuple[Part, ...]:
    """Return what is exchanged: each layer alone, keys, values, what is read out, random halves.

    None where a model does not show what its tokens send.
    """
    sent = sent_by(model)
    if not sent:
        return ()
    groups = grouped(
        (f"the keys and values of layer {site.layer}", name)
        for name, site in sent.items()
        if site.layer is not None
    )
    for text, kind in (
        ("all keys", Kind.KEY),
        ("all values", Kind.VALUE),
        ("all keys and values", Kind.KEYS_VALUES),
    ):
        if some := [name for name, site in sent.items() if site.kind is kind]:
            groups[text] = some
    groups["what the unembedding reads"] = [n for n, site in sent.items() if site.layer is None]
    rng = np.random.Generator(np.random.Philox(key=seed))
    halves = (
        {name: torch.from_numpy(rng.random(site.width) < 0.5) for name, site in sent.items()}
        for _ in range(RANDOM_PARTS)
    )
    parts = [
        Part(text, {name: torch.full((site.width,), name in some) for name, site in sent.items()})
        for text, some in groups.items()
    ]
    return (*parts, *(Part(f"random half {number}", half) for number, half in enumerate(halves, 1)))


def everything(model: Model) -> Part:
    sent = sent_by(model)
    return Part("everything", {name: torch.ones(s.width).bool() for name, s in sent.items()})


def aligned(encoder: Encoder, change: Pair) -> bool:
    """Say whether both prompts of a change have as many tokens, and not the same ones."""
    before, after = encoder.tokens(change.first), encoder.tokens(change.second)
    return len(before) == len(after) and before != after


def margins_with_sent(runner: Runner, changes: Sequence[Pair], parts: Sequence[Part]) -> Floats:
    """Margins [K, n] in nats of the first prompts, with parts of what the second ones send.

    What is exchanged stands at the tokens in which the two prompts of an `aligned` change differ.
    """
    encoder, model = Encoder(runner.model), whole_of(runner.model)
    found = np.empty((len(parts), len(changes)))
    for indexes in encoder.groups([change.first for change in changes], rows=ROWS):
        batch = encoder.batch([changes[i].first for i in indexes], rows=len(indexes))
        other = encoder.batch([changes[i].second for i in indexes], rows=len(indexes))
        for start in range(0, len(parts), CIRCUITS):
            chunk = slice(start, start + CIRCUITS)
            found[chunk, indexes] = _forward(model, batch, other, parts[chunk])
        runner.forwards += (len(parts) + 1) * len(indexes)
    return found


@torch.inference_mode()
def _forward(model: Model, batch: Batch, other: Batch, parts: Sequence[Part]) -> Floats:
    sent: dict[str, Tensor] = {}

    def record(name: str, x: Tensor) -> Tensor:
        if name in parts[0].channels:
            sent[name] = x
        return x

    model.run(other.tokens, record, at=other.last)
    where = batch.tokens != other.tokens  # [B, T]
    at_last = where.gather(1, batch.last[:, None])  # [B, 1]
    channels = {
        name: over_channels(torch.stack([part.channels[name] for part in parts]), model, name)
        for name in sent
    }

    def keep(name: str, mine: Tensor) -> Tensor | None:
        if name not in sent:
            return None
        tokens = where if mine.shape[2] == where.shape[1] else at_last
        part = channels[name].to(mine.device)[:, None, None, :]
        return ~(tokens[None, :, :, None] & part)  # [K, B, T or 1, D]

    hook = mixing(len(parts), keep, lambda name, _mine: sent.get(name))
    rows, at = batch.tokens.repeat(len(parts), 1), batch.last.repeat(len(parts))
    logits = model.run(rows, hook, at=at).view(len(parts), len(batch.tokens), -1)  # [K, B, V]
    scores = floats(batch.preferences(logits))
    return scores[..., 0] - scores[..., 1]
