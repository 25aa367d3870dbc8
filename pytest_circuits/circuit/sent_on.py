"""What each token of a prompt sends on to later tokens, in nats of the preference at its end.

All that later tokens can see of a token are its keys and values (`circuit.exchange`). With these at
their mean over the reference text, at one token, the preference moves by what the token sends.

It decides nothing: it is looked at, like a drawing, and is not counted in what a claim costs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pytest_circuits.circuit.encoding import Floats, floats
from pytest_circuits.circuit.exchange import sent_by
from pytest_circuits.circuit.runner import ROWS, Runner
from pytest_circuits.model.protocol import whole_of
from pytest_circuits.prompts.space import Prompt

MOST = 120  # tokens of a prompt


@torch.inference_mode()
def sent_on(runner: Runner, prompt: Prompt) -> Floats | None:
    """How much smaller the margin is without what each token sends, in the whole model, [T].

    None where the model does not show the keys and values of all its layers, or the prompt has
    more than MOST tokens.
    """
    model, encoder = whole_of(runner.model), runner.whole.encoder
    sites = [name for name, site in sent_by(model).items() if site.layer is not None]
    batch = encoder.batch([prompt], rows=1)
    count, mean = len(encoder.tokens(prompt)), runner.reference.mean
    if not sites or count > MOST:
        return None
    without = torch.arange(-1, count, device=model.device)  # of each row; the first one lacks none
    margins = []
    for rows in torch.split(without, ROWS):

        def hook(name: str, x: Tensor, rows: Tensor = rows) -> Tensor:  # [n, T, D]
            if name not in sites:
                return x
            there = torch.arange(x.shape[1], device=x.device) == rows[:, None]
            return torch.where(there[..., None], mean[name].to(x), x)

        logits = model.run(batch.tokens.repeat(len(rows), 1), hook, at=batch.last.repeat(len(rows)))
        answer, foil = logits[:, batch.choices[0]].unbind(1)
        margins.append(answer - foil)
    found = floats(torch.cat(margins))
    sent: Floats = found[0] - found[1:]
    return sent
