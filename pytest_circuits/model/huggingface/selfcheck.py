"""Whether a decoder does what the adapter takes it to do, on a few tokens, at every load.

A family whose modules are called as another's, and that computes otherwise, is refused here.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pytest_circuits.model.huggingface.adapter import HuggingFaceModel
from pytest_circuits.model.huggingface.anatomy import Library
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
from pytest_circuits.model.tree import Tree

INSTEAD = "name its sites (docs/transformers.md) or write an adapter for it (docs/extending.md)"
_WINDOWS = ("sliding_window", "window_size", "attention_chunk_size", "layer_types")


@torch.inference_mode()
def check_itself(model: HuggingFaceModel) -> None:
    """Raise ModelError where a decoder is not what its sites say."""
    tokens = some_tokens(model.vocab_size, model.device)
    kind = model.module.config.model_type
    hold(
        _checks(model, tokens),
        cannot=f"{model.path}: cannot be gated: of a {kind} model, ",
        instead=f"; {INSTEAD}",
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


@torch.inference_mode()
def branches(model: HuggingFaceModel) -> bool:
    """Whether a row that holds a tree gives what its prompts give, and may become several rows."""
    config = model.module.config.get_text_config()
    if any(_looks_back_less(config, name) for name in _WINDOWS):
        return False
    ids = torch.arange(6) * 7919 % model.vocab_size
    paths, last = torch.tensor([[0, 1, 2, 3], [0, 1, 4, 5]]), torch.tensor([3, 3])
    depths, places = torch.tensor([0, 1, 2, 3, 2, 3]), torch.tensor([0, 1, 2, 3, 6, 7])
    tree = Tree(*(x.to(model.device) for x in (ids, depths, paths, last, places)))
    name = f"{len(model.anatomy.blocks) - 1}.{HEADS}"

    def twice(site: str, x: Tensor) -> Tensor:
        return torch.cat([x, x / 2]) if site == name else x

    def half(site: str, x: Tensor) -> Tensor:
        return x / 2 if site == name else x

    plain = torch.stack([model.run(tree.padded, hook, at=tree.last) for hook in (None, half)])
    try:
        together = model.run_shared(tree), model.run_shared(tree, twice)
    except (ValueError, AttributeError, KeyError, TypeError, RuntimeError, IndexError):
        return False  # a family that is not told where its tokens stand and what they see
    far = max(float((x - plain[: len(x)]).abs().max()) for x in together)
    return far <= near(plain)


def _looks_back_less(config: Library, name: str) -> bool:
    """Whether attention reaches back so many tokens alone, in some layer."""
    said = getattr(config, name, None)
    if name == "layer_types":
        return any(kind != "full_attention" for kind in said or ())
    return said is not None and bool(getattr(config, f"use_{name}", True))
