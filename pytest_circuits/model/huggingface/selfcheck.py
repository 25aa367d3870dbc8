"""Whether a decoder does what the adapter takes it to do, on a few tokens, at every load.

A family whose modules are called as another's, and that computes otherwise, is refused here.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pytest_circuits.model.huggingface.adapter import HuggingFaceModel
from pytest_circuits.model.huggingface.hooks import GROUPS, HEADS, NEURONS
from pytest_circuits.model.protocol import Hook, Shows
from pytest_circuits.model.selfcheck import (
    TOKENS,
    Check,
    as_weights,
    common_checks,
    hold,
    near,
    some_tokens,
    zero,
)


@torch.inference_mode()
def check_itself(model: HuggingFaceModel) -> None:
    """Raise ModelError where a decoder is not what its sites say."""
    tokens = some_tokens(model.vocab_size, model.device)
    kind = model.module.config.model_type
    hold(
        _checks(model, tokens),
        cannot=f"{model.path}: cannot be gated: of a {kind} model, ",
        instead="; write an adapter for it (docs/extending.md)",
    )


def _checks(model: HuggingFaceModel, tokens: Tensor) -> Iterator[Check]:
    yield from common_checks(model, tokens, model.run(tokens))
    blocks = model.anatomy.blocks
    kinds = {(type(b.attention), type(b.down), type(b.experts)): n for n, b in enumerate(blocks)}
    for layer in sorted({0, *kinds.values()}):
        block = blocks[layer]
        yield from as_weights(model, tokens, f"{layer}.{HEADS}", block.out)
        if block.down is not None and block.experts is None:
            yield from as_weights(model, tokens, f"{layer}.{NEURONS}", block.down)
        if block.keys_values is not None:
            yield from _groups(model, tokens, layer)


def _groups(model: HuggingFaceModel, tokens: Tensor, layer: int) -> Iterator[Check]:
    """A group without keys and values silences its own heads, and no other."""
    name, block = f"{layer}.{GROUPS}", model.anatomy.blocks[layer]
    size, mine = model.sites[name].channels, slice(0, block.heads // block.groups * block.head_dim)
    before, after = (
        _heads(model, tokens, layer, hook) for hook in (None, zero(name, slice(0, size)))
    )
    expected = before.clone()
    expected[..., mine] = 0
    yield f"{name}[0] at zero silences the heads of its group and no other", after, expected


def _heads(model: HuggingFaceModel, tokens: Tensor, layer: int, other: Hook | None) -> Tensor:
    found = []

    def hook(name: str, x: Tensor) -> Tensor:
        if name == f"{layer}.{HEADS}":
            found.append(x)
        return other(name, x) if other else x

    model.visit(tokens, hook)
    return found[0]


@torch.inference_mode()
def shows_patterns(model: HuggingFaceModel) -> bool:
    """Whether attention computed in the open is the model's own, and is seen in every layer."""
    tokens = torch.arange(TOKENS, device=model.device)[None] % model.vocab_size
    names = [name for name, gauge in model.gauges.items() if gauge.shows is Shows.PATTERN]
    seen: dict[str, Tensor] = {}

    def look(name: str, x: Tensor) -> Tensor:
        if name in names:
            seen[name] = x
            return x.clone()
        return x

    plain = model.run(tokens)
    try:
        open_ = model.run(tokens, look, gauges=names)
    except (ValueError, AttributeError, KeyError, TypeError, RuntimeError):
        return False  # a family with another way to attend
    shape = (1, model.anatomy.blocks[0].heads, TOKENS, TOKENS)
    complete = all(name in seen and tuple(seen[name].shape) == shape for name in names)
    far = float((open_ - plain).abs().max())
    return complete and far <= near(plain)
