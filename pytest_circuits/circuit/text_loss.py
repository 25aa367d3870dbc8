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
    found = dict(zip(others, _losses(runner, others, tokens), strict=True))
    return floats(torch.stack([known[key] if view == WHOLE else found[view] for view in views]))


def _losses(runner: Runner, views: Sequence[View], tokens: Tensor) -> list[Tensor]:
    """Of each of K views the losses on windows of text [W, T], [W]."""
    model, tokens = runner.model, tokens.to(runner.model.device)
    picks = torch.arange(len(tokens)) % len(next(iter(runner.reference.bank.values())))
    fill = runner.ablation.kind.fill(Given(runner.reference, picks))
    step = max(1, TOKENS // tokens.numel())
    losses: list[Tensor] = []
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
        losses += loss.double().mean(-1)
    runner.forwards += len(views) * len(tokens)
    return losses
