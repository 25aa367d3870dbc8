"""The reference: what a node carries on ordinary text, which the ablation puts in its place.

Gao et al. 2025, section 2.2 and appendix A.5: a deleted node is frozen to its mean activation over
the pretraining distribution. Activations are taken after AbsTopK, as the intact model has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from pytest_circuits.model.protocol import Model, prefix_of
from pytest_circuits.model.tensor_file import digest_tensors

BANK_SIZE = 32
_TURNED = 4  # tokens of the bank at which a tie may have been turned
_BATCH = 16  # windows of text: few enough that sums of their activations stay in cache


@dataclass(frozen=True, slots=True)
class Reference:
    """Activations over reference text, by site of D channels.

    mean, std: [D]. bank: [BANK_SIZE, D], the activations at tokens drawn from the text, the same
    tokens at every hook point; an activation of the `resample` ablation comes from one of them.
    """

    model_digest: str
    tokens: Tensor  # [R, T] ids of the reference text, one window a row
    mean: dict[str, Tensor]
    std: dict[str, Tensor]
    bank: dict[str, Tensor]

    @property
    def digest(self) -> str:
        """sha256 of everything that an ablation can put in place of a node."""
        return digest_tensors(to_tensors(self))

    @property
    def text_digest(self) -> str:
        """sha256 of the text that it was measured on."""
        return digest_tensors({"tokens": self.tokens.to(torch.int32)})

    def departure(self, other: Reference) -> str | None:
        """Where this reference is not what another one of the same text is, beyond rounding.

        Devices and numbers of threads round otherwise, which can turn a tie of AbsTopK at single
        tokens: a mean may differ by a fiftieth of the standard deviation, that by a tenth, and the
        activations at a few tokens of the bank by all they are. All is relative to what a channel
        does, because a small one may be read with a large weight.
        """
        for hook, std in other.std.items():
            size = torch.hypot(other.mean[hook], std)
            for kind, stored, found, most in (
                ("mean", self.mean[hook], other.mean[hook], std / 50 + size / 10_000),
                ("std", self.std[hook], std, std / 10 + size / 10_000),
            ):
                apart = ~((stored - found).abs() <= most)
                if bool(apart.any()):
                    i = int(apart.int().argmax())
                    here, anew = f"{stored[i]:.6g}", f"{found[i]:.6g}"
                    return f"{kind} of {hook}[{i}]: {here}, and measured anew {anew}"
            rows, found = self.bank[hook], other.bank[hook]
            near = ((rows - found).abs() <= (size + found.abs()) / 1000).all(dim=1)
            if (far := int((~near).sum())) > _TURNED:
                return f"bank of {hook}: {far} of {BANK_SIZE} tokens have other activations"
        return None


@runtime_checkable
class BringsReference(Protocol):
    """A model that may bring its reference along, instead of a file beside it."""

    @property
    def reference(self) -> Reference | None:
        """Of all its sites; None: it lies beside the model."""


@torch.inference_mode()
def measure(
    model: Model, tokens: Tensor, *, progress: Callable[[int], None] | None = None
) -> Reference:
    """Run the model over windows of reference text [R, T] and pool all positions of text.

    What the tokenizer puts before every text is none. Sums are kept in float64, so that the means
    do not depend on how the text is batched beyond float32 rounding of single activations.
    """
    hooks = _channels_of(model)
    total = {hook: torch.zeros(width, dtype=torch.float64) for hook, width in hooks.items()}
    square = {hook: torch.zeros(width, dtype=torch.float64) for hook, width in hooks.items()}
    bank = {hook: torch.empty(BANK_SIZE, width) for hook, width in hooks.items()}
    skip = skipped(model, tokens)
    picks = [(row, skip + column) for row, column in _bank_positions(tokens[:, skip:])]

    for start in range(0, len(tokens), _BATCH):
        rows = tokens[start : start + _BATCH]
        chosen = [(i, r - start, t) for i, (r, t) in enumerate(picks) if 0 <= r - start < _BATCH]

        def record(name: str, x: Tensor, chosen: list[tuple[int, int, int]] = chosen) -> Tensor:
            flat = x[:, skip:].flatten(0, 1).double()
            total[name] += flat.sum(0).cpu()
            square[name] += flat.square().sum(0).cpu()
            for place, row, token in chosen:  # copied: a view would keep all of x in memory
                bank[name][place] = x[row, token]
            return x

        model.visit(rows.to(model.device), record)
        if progress is not None:
            progress(min(start + _BATCH, len(tokens)))
    count = tokens[:, skip:].numel()
    mean = {hook: total[hook] / count for hook in hooks}
    return Reference(
        model_digest=model.digest,
        tokens=tokens,
        mean={hook: mean[hook].float() for hook in hooks},
        std={
            hook: (square[hook] / count - mean[hook].square()).clamp(min=0).sqrt().float()
            for hook in hooks
        },
        bank=bank,
    )


def skipped(model: Model, tokens: Tensor) -> int:
    """Leading positions of windows [R, T] that are no text: what is put before every text."""
    prefix = torch.tensor(prefix_of(model), dtype=tokens.dtype)
    alike = tokens.shape[1] > len(prefix) and bool((tokens[:, : len(prefix)] == prefix).all())
    return len(prefix) if alike else 0


def _bank_positions(tokens: Tensor) -> list[tuple[int, int]]:
    """Row and column of the tokens that the bank remembers, in order; a function of the shape."""
    rng = np.random.Generator(np.random.Philox(key=BANK_SIZE))
    flat = np.sort(rng.choice(tokens.numel(), size=BANK_SIZE, replace=tokens.numel() < BANK_SIZE))
    return [divmod(int(position), tokens.shape[1]) for position in flat]


def to_tensors(reference: Reference) -> dict[str, Tensor]:
    """What `reference.safetensors` holds."""
    tensors = {"tokens": reference.tokens.to(torch.int32)}
    for kind in ("mean", "std", "bank"):
        tensors |= {f"{kind}/{hook}": x for hook, x in getattr(reference, kind).items()}
    return tensors


def expected_shapes(model: Model) -> dict[str, torch.Size]:
    """Shape of every tensor of a reference but its text."""
    leading: dict[str, tuple[int, ...]] = {"mean": (), "std": (), "bank": (BANK_SIZE,)}
    return {
        f"{kind}/{hook}": torch.Size((*size, width))
        for hook, width in _channels_of(model).items()
        for kind, size in leading.items()
    }


def from_tensors(tensors: Mapping[str, Tensor], model: Model) -> Reference:
    """The reference of tensors whose shapes have been checked."""
    by_kind = {
        kind: {hook: tensors[f"{kind}/{hook}"].float() for hook in model.sites}
        for kind in ("mean", "std", "bank")
    }
    return Reference(model_digest=model.digest, tokens=tensors["tokens"].long(), **by_kind)


def _channels_of(model: Model) -> dict[str, int]:
    """How many numbers each site holds."""
    return {name: site.width * site.channels for name, site in model.sites.items()}
