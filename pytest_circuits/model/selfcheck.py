"""What has to hold of any model whose insides are found from without, on a few tokens.

Each check is a sentence, what is found and what is expected; adapters add those of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from pytest_circuits.errors import ModelError
from pytest_circuits.model.protocol import Hook, Model

NEAR = 1e-4  # of the largest logit, or of one nat: float32 in another order differs by less
ROWS, TOKENS, PADDING = 2, 6, 3

Check: TypeAlias = tuple[str, Tensor, Tensor]  # the sentence, what is found, what is expected


def some_tokens(vocabulary: int, device: torch.device) -> Tensor:
    """Token ids [ROWS, TOKENS] that differ."""
    ids = (torch.arange(ROWS * TOKENS) * 7919 + vocabulary // 3) % vocabulary
    return ids.view(ROWS, TOKENS).to(device)


def hold(checks: Iterable[Check], *, cannot: str, instead: str = "") -> None:
    """Raise ModelError at the first check that does not hold, told between these two."""
    for what, found, expected in checks:
        far = float((found - expected).abs().max())
        if not far <= near(expected):
            raise ModelError(f"{cannot}{what}, and here it is off by {far:.2g}{instead}")


def near(expected: Tensor) -> float:
    """How far something may be from what is expected."""
    return NEAR * max(1.0, float(expected.abs().max()))


def common_checks(model: Model, tokens: Tensor, plain: Tensor) -> Iterator[Check]:
    """What holds of every model; plain: its logits of the tokens."""
    if not bool(torch.isfinite(plain).all()):
        raise ModelError(f"{model.path}: its logits hold NaN or infinity")
    yield "a hook that changes nothing gives the same logits", _unchanged(model, tokens), plain
    yield "a row of a batch is what it is alone", model.run(tokens[:1]), plain[:1]
    padded = nn.functional.pad(tokens, (0, PADDING))
    yield "padding on the right changes nothing", model.run(padded)[:, :TOKENS], plain
    last = torch.full((ROWS,), TOKENS - 1, device=tokens.device)
    yield "one token's logits are what they are among all", model.run(tokens, at=last), plain[:, -1]


def _unchanged(model: Model, tokens: Tensor) -> Tensor:
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


def as_weights(model: Model, tokens: Tensor, name: str, linear: nn.Module) -> Iterator[Check]:
    """The last node of a site, set to zero: the weights that read it, set to zero, do the same."""
    width, size = model.sites[name].width, model.sites[name].channels
    channels = slice((width - 1) * size, width * size)
    found = model.run(tokens, zero(name, channels))
    with _without(linear, channels):
        expected = model.run(tokens)
    yield f"{name}[{width - 1}] at zero is what its weights at zero do", found, expected


def zero(site: str, channels: slice) -> Hook:
    """A hook that sets some channels of a site to zero."""

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
