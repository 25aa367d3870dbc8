"""What the ablation of nodes costs on general text: next-token loss over the reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from pytest_circuits.circuit.encoding import Floats, floats
from pytest_circuits.circuit.interventions import run_circuits
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.view import View, cut_weights, keep_masks
from pytest_circuits.spec.ablations import Given

TOKENS = 1 << 13  # of one forward


@torch.inference_mode()
def text_losses(runner: Runner, views: Sequence[View], *, windows: int) -> Floats:
    """Mean next-token loss in nats of each of K views on windows of reference text, [K, windows].

    The windows are spread evenly over the text. Under `resample` each takes the activations that
    one token of the reference had, one after the other; text has no partner, and under `contrast`
    what is ablated becomes its mean.
    """
    model, text = runner.model, runner.reference.tokens
    chosen = np.unique(np.linspace(0, len(text) - 1, num=min(windows, len(text))).astype(int))
    tokens = text[torch.from_numpy(chosen)].to(model.device)  # [W, T]
    picks = torch.arange(len(tokens)) % len(next(iter(runner.reference.bank.values())))
    fill = runner.ablation.kind.fill(Given(runner.reference, picks))
    step = max(1, TOKENS // tokens.numel())
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
    runner.forwards += len(views) * len(tokens)
    return floats(torch.cat(losses))
