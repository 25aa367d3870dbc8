"""Whether a decoder does what the adapter takes it to do, on a few tokens, at every load.

A family whose modules are called as another's, and that computes otherwise, is refused here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pytest_circuits.errors import ModelError
from pytest_circuits.model.huggingface.adapter import HuggingFaceModel
from pytest_circuits.model.huggingface.hooks import GROUPS, HEADS, NEURONS
from pytest_circuits.model.protocol import Hook, Shows

NEAR = 1e-4  # of the largest logit, or of one nat: float32 in another order differs by less
_ROWS, _TOKENS, _PADDING = 2, 6, 3


@torch.inference_mode()
def check_itself(model: HuggingFaceModel) -> None:
    """Raise ModelError where a decoder is not what its sites say."""
    count = model.vocab_size
    tokens = (torch.arange(_ROWS * _TOKENS) * 7919 + count // 3) % count
    tokens = tokens.view(_ROWS, _TOKENS).to(model.device)
    plain = model.run(tokens)
    if not bool(torch.isfinite(plain).all()):
        raise ModelError(f"{model.path}: its logits hold NaN or infinity")
    for what, found, expected in _checks(model, tokens, plain):
        far = float((found - expected).abs().max())
        if not far <= NEAR * max(1.0, float(expected.abs().max())):
            raise ModelError(
                f"{model.path}: cannot be gated: of a {model.module.config.model_type} model, "
                f"{what}, and here it is off by {far:.2g}; write an adapter for it "
                "(docs/extending.md)"
            )


def _checks(
    model: HuggingFaceModel, tokens: Tensor, plain: Tensor
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """What has to hold, as a sentence, what is found and what is expected."""
    yield "a hook that changes nothing gives the same logits", _identity(model, tokens), plain
    yield "a row of a batch is what it is alone", model.run(tokens[:1]), plain[:1]
    padded = torch.nn.functional.pad(tokens, (0, _PADDING))
    yield "padding on the right changes nothing", model.run(padded)[:, :_TOKENS], plain
    last = torch.full((_ROWS,), _TOKENS - 1, device=tokens.device)
    yield "one token's logits are what they are among all", model.run(tokens, at=last), plain[:, -1]
    blocks = model.anatomy.blocks
    kinds = {(type(b.attention), type(b.down), type(b.experts)): n for n, b in enumerate(blocks)}
    for layer in sorted({0, *kinds.values()}):
        block = blocks[layer]
        yield from _as_weights(model, tokens, f"{layer}.{HEADS}", block.out, block.heads)
        if block.down is not None and block.experts is None:
            yield from _as_weights(model, tokens, f"{layer}.{NEURONS}", block.down, block.neurons)
        if block.keys_values is not None:
            yield from _groups(model, tokens, layer)


def _identity(model: HuggingFaceModel, tokens: Tensor) -> Tensor:
    met: dict[str, tuple[int, ...]] = {}

    def look(name: str, x: Tensor) -> Tensor:
        met[name] = tuple(x.shape)
        return x.clone()

    logits = model.run(tokens, look)
    expected = {name: (*tokens.shape, s.width * s.channels) for name, s in model.sites.items()}
    if wrong := [name for name, shape in expected.items() if met.get(name) != shape]:
        raise ModelError(
            f"{model.path}: cannot be gated: {wrong[0]} should be {list(expected[wrong[0]])}, and "
            f"a forward shows {list(met.get(wrong[0], ()))}"
        )
    return logits


def _as_weights(
    model: HuggingFaceModel, tokens: Tensor, name: str, linear: nn.Module, width: int
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """The last node of a site, set to zero: its weights set to zero do the same."""
    size = model.sites[name].channels
    channels = slice((width - 1) * size, width * size)
    found = model.run(tokens, _zero(name, channels))
    with _without(linear, channels):
        expected = model.run(tokens)
    yield f"{name}[{width - 1}] at zero is what its weights at zero do", found, expected


def _groups(
    model: HuggingFaceModel, tokens: Tensor, layer: int
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """A group without keys and values silences its own heads, and no other."""
    name, block = f"{layer}.{GROUPS}", model.anatomy.blocks[layer]
    size, mine = model.sites[name].channels, slice(0, block.heads // block.groups * block.head_dim)
    before, after = (
        _heads(model, tokens, layer, hook) for hook in (None, _zero(name, slice(0, size)))
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


def _zero(site: str, channels: slice) -> Hook:
    def hook(name: str, x: Tensor) -> Tensor:
        if name != site:
            return x
        x = x.clone()
        x[..., channels] = 0
        return x

    return hook


@contextmanager
def _without(linear: nn.Module, channels: slice) -> Iterator[None]:
    """A linear map that reads nothing of some channels, meanwhile."""
    weight: Any = linear.weight
    columns = weight[:, channels] if isinstance(linear, nn.Linear) else weight[channels]
    kept = columns.clone()
    columns.zero_()
    try:
        yield
    finally:
        columns.copy_(kept)


@torch.inference_mode()
def shows_patterns(model: HuggingFaceModel) -> bool:
    """Whether attention computed in the open is the model's own, and is seen in every layer."""
    tokens = torch.arange(_TOKENS, device=model.device)[None] % model.vocab_size
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
    shape = (1, model.anatomy.blocks[0].heads, _TOKENS, _TOKENS)
    complete = all(name in seen and tuple(seen[name].shape) == shape for name in names)
    far = float((open_ - plain).abs().max())
    return complete and far <= NEAR * max(1.0, float(plain.abs().max()))
