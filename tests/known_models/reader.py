"""A quote copier that reads the name too: two heads copy which name it is, each with its own sign.

With one of them the name speaks for a quote. With both, at equal size, they cancel: whatever the
name is, the logits stay as they are, and yet the model reads it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_circuits.model.reference import measure
from pytest_circuits.model.reference_file import read_reference_text, save_reference
from pytest_circuits.model.sparse.directory import load_sparse_model, save_model
from tests.known_models.copier import (
    BIAS,
    D_HEAD,
    DETECT_AGAIN,
    NOISE,
    NOWHERE,
    READ,
    TYPE_AGAIN,
    WEAK_OUT,
    WORDS,
    Weights,
    write_quote_copier,
)

if TYPE_CHECKING:
    from torch import Tensor

LOUD = {"x": -4.0, "value": 4.0}  # what the names say; other names say nothing


def write_name_reader(folder: Path, *, one: float, other: float, at_end: float = 0.0) -> Path:
    """Write the model directory with its reference; returns the folder.

    Args:
        folder: where the model goes.
        one: how much of the name one head writes for the double quote.
        other: how much another head writes of it.
        at_end: how much the last word puts into each of two channels, which the unembedding reads
            with opposite signs.

    """
    model = load_sparse_model(write_quote_copier(folder, Weights(weak=0.0, bracket=0.0)))
    text = read_reference_text(folder)
    state = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    embed, unembed = state["embed.weight"], state["unembed.weight"]
    embed[:, NOISE], unembed[:, NOISE] = 1.0, 0.0  # nothing else differs from token to token
    embed[:, [DETECT_AGAIN, TYPE_AGAIN, BIAS, NOWHERE]] = 0
    for name, says in LOUD.items():
        (index,) = model.encode(name)
        embed[index, DETECT_AGAIN], embed[index, TYPE_AGAIN] = 4.0, says
    for index in range(model.tokenizer.vocab_size):
        if model.decode_token(index).strip() in WORDS[::2]:
            embed[index, [BIAS, NOWHERE]] = at_end
    for head, size in ((1, one), (2, other)):
        _read_name(state, head=head, size=size)
    (single,), (double,) = model.encode("'"), model.encode('"')
    unembed[single, [BIAS, NOWHERE]] = unembed.new_tensor([READ, -READ])
    unembed[double, WEAK_OUT], unembed[single, WEAK_OUT] = READ, -READ
    model.module.load_state_dict(state)
    save_model(folder, module=model.module, tokenizer=model.tokenizer, card="# A name reader\n")
    model = load_sparse_model(folder)
    save_reference(model, measure(model, text))
    return folder


def _read_name(state: dict[str, Tensor], *, head: int, size: float) -> None:
    channel = head * D_HEAD
    for point, read, weight in (("k", DETECT_AGAIN, 2.0), ("v", TYPE_AGAIN, 1.0)):
        state[f"attn.0.{point}.weight"][channel] = 0
        state[f"attn.0.{point}.weight"][channel, read] = weight
    state["attn.0.out.weight"][:, channel] = 0
    state["attn.0.out.weight"][WEAK_OUT, channel] = size
