"""Where a decoder of transformers has its heads, groups of heads, neurons, experts and norms.

One search serves all families, by what their modules are called and by their shapes; what it finds
is put to the test at load (`selfcheck`). Letters: H heads, G groups of heads that share their keys
and values, dh channels of a head.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from pytest_circuits.errors import ModelError

Library: TypeAlias = Any  # what transformers makes: its classes are known at run time alone

_OUT = ("o_proj", "out_proj", "c_proj", "dense")  # reads what heads put out
_DOWN = ("down_proj", "c_proj", "dense_4h_to_h", "fc2", "fc_out")  # reads the neurons
_ATTENTION = ("attn", "attention")
_STACKED = ("c_attn", "qkv_proj")  # puts out all queries, then all keys, then all values
_BY_HEAD = ("query_key_value",)  # puts out query, key and value of each head
_FINAL = ("norm", "ln_f", "final_layer_norm", "final_layernorm")


@dataclass(frozen=True, slots=True)
class Apart:
    """Keys and values of modules of their own, which read what attention reads."""

    keys: tuple[nn.Module, ...]  # one after the other
    values: nn.Module


@dataclass(frozen=True, slots=True)
class Together:
    """Keys and values among what one module puts out."""

    module: nn.Module
    channels: Tensor  # [G * 2 * dh]: of each group the channels of its key and of its value


@dataclass(frozen=True, slots=True)
class Block:
    """One layer."""

    module: nn.Module
    attention: nn.Module
    out: nn.Module
    heads: int
    groups: int
    head_dim: int
    keys_values: Apart | Together | None
    down: nn.Module | None
    experts: nn.Module | None
    norms: dict[str, nn.Module]

    @property
    def neurons(self) -> int:
        return read_by(self.down) if self.down is not None else 0

    @property
    def number_of_experts(self) -> int:
        count: Any = getattr(self.experts, "num_experts", 0)
        return int(count)


@dataclass(frozen=True, slots=True)
class Anatomy:
    """A whole decoder."""

    blocks: tuple[Block, ...]
    width: int
    final: nn.Module | None  # the norm before the unembedding
    unembedding: nn.Module


def anatomy_of(module: Library, config: Library) -> Anatomy:
    """Find the parts of a decoder; ModelError where a layer has not got them."""
    text = config.get_text_config()
    heads = int(text.num_attention_heads)
    name, layers = _layers_of(module, int(text.num_hidden_layers))
    blocks = tuple(_block(layer, n, heads) for n, layer in enumerate(layers))
    parent = module.get_submodule(name.rpartition(".")[0])
    final = next((part for part in _FINAL if isinstance(_child(parent, part), nn.Module)), "")
    return Anatomy(
        blocks=blocks,
        width=int(text.hidden_size),
        final=_child(parent, final),
        unembedding=module.get_output_embeddings(),
    )


def read_by(linear: nn.Module) -> int:
    """How many channels a linear map reads; `Conv1D` has its weight the other way round."""
    weight: Any = linear.weight
    return int(weight.shape[1 if isinstance(linear, nn.Linear) else 0])


def _put_out_by(linear: nn.Module) -> int:
    weight: Any = linear.weight
    return int(weight.shape[0 if isinstance(linear, nn.Linear) else 1])


def _layers_of(module: nn.Module, count: int) -> tuple[str, nn.ModuleList]:
    found = [
        (name, part)
        for name, part in module.named_modules()
        if isinstance(part, nn.ModuleList) and len(part) == count
    ]
    outermost = [one for one in found if not any(one[0].startswith(f"{n}.") for n, _ in found)]
    if len(outermost) != 1:
        raise ModelError(f"has {len(outermost)} lists of {count} layers, where a decoder has one")
    return outermost[0]


def _block(layer: nn.Module, number: int, heads: int) -> Block:
    parts = dict(layer.named_modules())
    out = next((name for name in parts if _is_out(name)), None)
    if out is None:
        raise ModelError(
            f"layer {number} ({type(layer).__name__}) has no projection of what its heads put out"
        )
    attention = parts[out.rpartition(".")[0]]
    channels = read_by(parts[out])
    groups = _groups(attention, heads, channels // heads)
    if channels % heads or not 0 < groups <= heads or heads % groups:
        raise ModelError(f"layer {number} has {channels} channels for {heads} heads")
    keys_values = _keys_values(attention, heads, groups, channels // heads)
    said = getattr(attention, "head_dim", channels // heads if keys_values else None)
    if said != channels // heads:  # of another kind, such as linear attention: no such heads
        raise ModelError(
            f"layer {number} ({type(attention).__name__}) does not say that it has {heads} heads "
            f"of {channels // heads} channels"
        )
    down = next((name for name in parts if _is_down(name)), None)
    experts = next((part for name, part in parts.items() if name.endswith(".experts")), None)
    return Block(
        module=layer,
        attention=attention,
        out=parts[out],
        heads=heads,
        groups=groups,
        head_dim=channels // heads,
        keys_values=keys_values,
        down=parts[down] if down and experts is None else None,
        experts=experts,
        norms=dict(_norms(layer)),
    )


def _is_out(name: str) -> bool:
    *path, last = name.split(".")
    return last in _OUT and any(word in part for part in path for word in _ATTENTION)


def _is_down(name: str) -> bool:
    *path, last = name.split(".")
    inside = any(word in part for part in path for word in (*_ATTENTION, "expert"))
    return last in _DOWN and not inside


def _groups(attention: nn.Module, heads: int, size: int) -> int:
    """How many groups share keys and values, by the size of what makes these."""
    keys = _child(attention, "k_proj")
    if keys is not None:
        return _put_out_by(keys) // size
    stacked = next((part for name in _STACKED if (part := _child(attention, name))), None)
    return heads if stacked is None else (_put_out_by(stacked) // size - heads) // 2


def _keys_values(
    attention: nn.Module, heads: int, groups: int, size: int
) -> Apart | Together | None:
    keys, values, norm = (_child(attention, name) for name in ("k_proj", "v_proj", "k_norm"))
    if keys is not None and values is not None:
        # A norm over all groups at once mixes them: they are told apart behind it.
        over_all = norm is not None and getattr(norm, "weight", torch.empty(0)).numel() > size
        return Apart((keys, norm) if norm is not None and over_all else (keys,), values)
    of_group = torch.arange(size)
    for name in (*_STACKED, *_BY_HEAD):
        fused = _child(attention, name)
        if fused is None:
            continue
        group = torch.arange(groups)[:, None, None]
        if name in _STACKED:
            first = torch.tensor([heads, heads + groups])[:, None] * size  # of keys, of values
            channels = first + group * size + of_group  # [G, 2, dh]
        else:
            first = torch.tensor([1, 2])[:, None] * size
            channels = first + group * 3 * size + of_group
        if int(channels.max()) >= _put_out_by(fused):
            raise ModelError(f"has {name!r} of fewer channels than {groups} groups need")
        return Together(fused, channels.flatten())
    return None


def _norms(layer: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    yield from ((name, part) for name, part in layer.named_children() if is_norm(part))


def is_norm(module: nn.Module | None) -> bool:
    """Whether it multiplies by the scale that `scale_of` gives, and by weights."""
    named = type(module).__name__.endswith("RMSNorm") and _epsilon(module) is not None
    return isinstance(module, nn.LayerNorm) or named


def scale_of(norm: nn.Module, x: Tensor) -> Tensor:
    """What a norm multiplies its input by: [..., D] -> [..., 1]."""
    if isinstance(norm, nn.LayerNorm):
        x = x - x.mean(-1, keepdim=True)
    return (x.square().mean(-1, keepdim=True) + (_epsilon(norm) or 0.0)).rsqrt()


def _epsilon(norm: nn.Module | None) -> float | None:
    found = getattr(norm, "variance_epsilon", getattr(norm, "eps", None))
    return found if isinstance(found, float) else None


def _child(module: nn.Module, name: str) -> nn.Module | None:
    found = getattr(module, name, None) if name else None
    return found if isinstance(found, nn.Module) else None
