"""Attention patterns of a decoder of transformers: seen, and replaced, where a hook asks for them.

The library lets an attention function be registered by a name. Ours computes the softmax in the
open, as the family's own code does; runs that ask for no pattern keep the kernel of the library.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pytest_circuits.model.huggingface.anatomy import Library

NAME = "pytest_circuits"

Look: TypeAlias = Callable[[int, Tensor], Tensor]  # layer, pattern [N, H, Q, T] -> replacement

_look: ContextVar[Look | None] = ContextVar("_look", default=None)
# Hooks at parts, as torch keeps its own; it can refer to no other kind of dictionary.
_at: OrderedDict[int, tuple[nn.Module, Callable[[Tensor], Tensor]]] = OrderedDict()


def register() -> None:
    """Tell the library of the attention function, once."""
    from transformers import AttentionInterface, AttentionMaskInterface  # noqa: PLC0415  (extra)
    from transformers.masking_utils import eager_mask  # noqa: PLC0415  (as above)

    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, eager_mask)


@contextmanager
def looking(config: Library, look: Look) -> Iterator[None]:
    """Show the pattern of every layer meanwhile."""
    text = config.get_text_config()
    before, token = text._attn_implementation, _look.set(look)  # noqa: SLF001  (its only name)
    text._attn_implementation = NAME  # noqa: SLF001
    try:
        yield
    finally:
        text._attn_implementation = before  # noqa: SLF001
        _look.reset(token)


def attend_openly(config: Library) -> None:
    """Have every run show its patterns to `at_attention`."""
    register()
    config.get_text_config()._attn_implementation = NAME  # noqa: SLF001  (its only name)


def attends_openly(part: nn.Module) -> bool:
    return getattr(getattr(part, "config", None), "_attn_implementation", None) == NAME


def at_attention(part: nn.Module, see: Callable[[Tensor], Tensor]) -> RemovableHandle:
    """Show what the heads of a part attend to, and attend as is returned."""
    handle = RemovableHandle(_at)
    _at[handle.id] = (part, see)
    return handle


def _attention(
    module: Library,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    **others: object,
) -> tuple[Tensor, Tensor]:
    """Attend as the family's own code does in the open.

    query: [N, H, Q, dh]. key, value: [N, G, T, dh]. Returns [N, Q, H, dh] and [N, H, Q, T].
    """
    own: Library = sys.modules[type(module).__module__]
    mixed, pattern = own.eager_attention_forward(module, query, key, value, mask, **others)
    look = _look.get()
    shown = pattern if look is None else look(module.layer_idx, pattern)
    for part, see in _at.values():
        shown = see(shown) if part is module else shown
    if shown is not pattern:
        every = value.repeat_interleave(query.shape[1] // value.shape[1], dim=1)
        mixed = (shown @ every).transpose(1, 2)
    return mixed, shown
