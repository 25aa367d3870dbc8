"""What the ablation of nodes costs on general text: next-token loss over the reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pytest_circuits.circuit.encoding import Floats, floats
from pytest_circuits.circuit.interventions import run_circuits
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.view import WHOLE, View, cut_weights, keep_masks
from pytest_circuits.spec.ablations import Given

TOKENS = 1 << 11  # of one forward: of more, most of the time goes into making memory


@torch.inference_mode()
def text_losses(runner: Runner, views: Sequence[View], *, windows: int) -> Floats:
    """Mean next-token loss in nats of each of K views on windows of reference text, [K, windows].

    The windows are spread evenly over the text. Under `resample` each takes the activations that
    one token of the reference had, one after the other; text has no partner, and under `contrast`
    what is ablated becomes its mean.
    """
    text, known = runner.reference.tokens, runner.whole.text_losses
    chosen = np.unique(np.linspace(0, len(text) - 1, num=min(windows, len(text))).astype(int))
    tokens = text[torch.from_numpy(chosen)]  # [W, T]
    key = tokens.numpy().tobytes()
    if WHOLE in views and key not in known:
        known[key] = _losses(runner, [WHOLE], tokens)[0]
    others = [view for view in views if view != WHOLE]
    found = dict(zip(others, _losses(runner, others, tokens), strict=True)) if others else {}
    return floats(torch.stack([known[key] if view == WHOLE else found[view] for view in views]))


def _losses(runner: Runner, views: Sequence[View], tokens: Tensor) -> list[Tensor]:
    """Of each of K views the losses on windows of text [W, T], [W]."""
    rows = max(1, TOKENS // tokens.shape[1])
    picks = torch.arange(len(tokens)) % len(next(iter(runner.reference.bank.values())))
    some = (slice(start, start + rows) for start in range(0, len(tokens), rows))
    parts = [_losses_of_few(runner, views, tokens[few], picks[few]) for few in some]
    runner.forwards += len(views) * len(tokens)
    return list(torch.cat(parts, dim=1))


def _losses_of_few(runner: Runner, views: Sequence[View], tokens: Tensor, picks: Tensor) -> Tensor:
    """Losses [K, W] of views on windows [W, T], each with the token of the bank that it takes."""
    model = runner.model
    tokens, step = tokens.to(model.device), max(1, TOKENS // tokens.numel())
    given = runner.ablation.kind.fill(Given(runner.reference, picks))
    fill = {name: x.to(model.device) for name, x in given.items()}
    losses = []
    for start in range(0, len(views), step):
        some = views[start : start + step]
        logits = run_circuits(
            model,
            tokens,
            at=None,
            keep=keep_masks(some, model),
            fill=fill,
            cuts=cut_weights(some, model),
        )  # [k, W, T, V]
        wanted = tokens[:, 1:].expand(len(some), -1, -1)
        loss = cross_entropy(logits[:, :, :-1].movedim(-1, 1), wanted, reduction="none")
        losses.append(loss.double().mean(-1))
    return torch.cat(losses)
