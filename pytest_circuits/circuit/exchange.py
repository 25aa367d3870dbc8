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
from numpy.typing import NDArray
from torch import Tensor

from pytest_circuits.circuit.encoding import Batch, Encoder
from pytest_circuits.circuit.runner import CIRCUITS, ROWS, Runner
from pytest_circuits.model.protocol import Model
from pytest_circuits.model.sparse.gpt import Hook
from pytest_circuits.prompts.space import Pair

RANDOM_PARTS = 16  # of the channels, each in with probability one half
_KEYS, _VALUES, _LAST = ".attn.k", ".attn.v", "final_resid"


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the channels by which a token is seen by others, or by the unembedding."""

    name: str
    channels: Mapping[str, Tensor]  # by hook point, [D] bool


def parts_of(model: Model, *, seed: int) -> tuple[Part, ...]:
    """Return what is exchanged: each layer alone, keys, values, what is read out, random halves."""
    widths = {
        hook: width
        for hook, width in model.hook_points.items()
        if hook.endswith((_KEYS, _VALUES)) or hook == _LAST
    }
    layers = dict.fromkeys(hook.removesuffix(_KEYS) for hook in widths if hook.endswith(_KEYS))
    groups: dict[str, tuple[str, ...]] = {
        f"the keys and values of layer {layer}": (layer + _KEYS, layer + _VALUES)
        for layer in layers
    }
    groups["all keys"] = tuple(hook for hook in widths if hook.endswith(_KEYS))
    groups["all values"] = tuple(hook for hook in widths if hook.endswith(_VALUES))
    groups["what the unembedding reads"] = (_LAST,)
    rng = np.random.Generator(np.random.Philox(key=seed))
    halves = (
        {hook: torch.from_numpy(rng.random(width) < 0.5) for hook, width in widths.items()}
        for _ in range(RANDOM_PARTS)
    )
    return (
        *(
            Part(name, {hook: torch.full((widths[hook],), hook in group) for hook in widths})
            for name, group in groups.items()
        ),
        *(Part(f"random half {number}", half) for number, half in enumerate(halves, 1)),
    )


def aligned(encoder: Encoder, change: Pair) -> bool:
    """Say whether both prompts of a change have as many tokens, and not the same ones."""
    before, after = encoder.tokens(change.first), encoder.tokens(change.second)
    return len(before) == len(after) and before != after


def margins_with_sent(
    runner: Runner, changes: Sequence[Pair], parts: Sequence[Part]
) -> NDArray[np.float64]:
    """Margins [K, n] in nats of the first prompts, with parts of what the second ones send.

    What is exchanged stands at the tokens in which the two prompts of an `aligned` change differ.
    """
    encoder = Encoder(runner.model)
    found = np.empty((len(parts), len(changes)))
    for indexes in encoder.groups([change.first for change in changes], rows=ROWS):
        batch = encoder.batch([changes[i].first for i in indexes], rows=len(indexes))
        other = encoder.batch([changes[i].second for i in indexes], rows=len(indexes))
        for start in range(0, len(parts), CIRCUITS):
            chunk = slice(start, start + CIRCUITS)
            found[chunk, indexes] = _forward(runner.model, batch, other, parts[chunk])
        runner.forwards += (len(parts) + 1) * len(indexes)
    return found


@torch.inference_mode()
def _forward(
    model: Model, batch: Batch, other: Batch, parts: Sequence[Part]
) -> NDArray[np.float64]:
    """Margins [K, B]."""
    sent: dict[str, Tensor] = {}

    def record(name: str, x: Tensor) -> Tensor:
        if name in parts[0].channels:
            sent[name] = x
        return x

    model.module(other.tokens, record, at=other.last)
    hook = _exchange(sent, batch.tokens != other.tokens, batch.last, parts)
    rows, at = batch.tokens.repeat(len(parts), 1), batch.last.repeat(len(parts))
    logits = model.module(rows, hook, at=at).view(len(parts), len(batch.tokens), -1)  # [K, B, V]
    scores = batch.preferences(logits).double().cpu().numpy()
    margins: NDArray[np.float64] = scores[..., 0] - scores[..., 1]
    return margins


def _exchange(
    sent: Mapping[str, Tensor], where: Tensor, last: Tensor, parts: Sequence[Part]
) -> Hook:
    """A hook that puts what was sent [B, T or 1, D] at some tokens [B, T] into parts' channels."""
    at_last = where.gather(1, last[:, None])  # [B, 1]

    def hook(name: str, x: Tensor) -> Tensor:
        if name not in sent:
            return x
        by_part = x.view(len(parts), -1, *x.shape[1:])  # [K, B, T or 1, D]
        tokens = where if x.shape[1] == where.shape[1] else at_last
        channels = torch.stack([part.channels[name] for part in parts]).to(x.device)
        mask = tokens[None, :, :, None] & channels[:, None, None, :]
        return torch.where(mask, sent[name], by_part).flatten(0, 1)

    return hook
