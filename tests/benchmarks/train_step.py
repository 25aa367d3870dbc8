"""Time one training step against the same step without sparsity, and its parts against torch.topk.

`sparse_over_dense`: a step of the trainer (AbsTopK 0.25 at eight hook points, hard top-k of every
matrix) over a step without either. `dense_over_plain`: that dense step over one of plain PyTorch
in the manner of nanoGPT. `abstopk_speedup`, `topk_speedup`: against straightforward torch.topk at
width 1,024. All are ratios of medians of alternating rounds in one run.
"""

from __future__ import annotations

import argparse
import statistics
import time

from pytest_circuits.commands.train import let_idle_threads_sleep

let_idle_threads_sleep()  # as `pytest-circuits train` does, before torch is imported

# ruff: disable[E402]
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pytest_circuits.model.sparse.config import ModelConfig
from pytest_circuits.model.sparse.gpt import SparseGPT
from pytest_circuits.model.sparse.selection import abs_top_k
from pytest_circuits.train.config import Optimizer, Shape, Sparsity, TrainConfig
from pytest_circuits.train.distributed import World
from pytest_circuits.train.loop import Trainer, initialise
from pytest_circuits.train.sparsity import largest

# ruff: enable[E402]

WIDTH, LAYERS, LENGTH, BATCH, VOCABULARY = 256, 4, 128, 32, 1024


class PlainBlock(nn.Module):
    """A pre-norm block with fused attention and a fused projection, as nanoGPT writes it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, t, d = x.shape
        q, k, v = (
            part.view(n, t, self.heads, -1).transpose(1, 2)
            for part in self.qkv(self.norm1(x)).split(d, dim=2)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).contiguous().view(n, t, d))
        return x + self.down(F.gelu(self.up(self.norm2(x))))  # type: ignore[no-any-return]


class PlainGPT(nn.Module):
    """The dense shape of the benchmark, without sinks and bigram table."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, width)
        self.blocks = nn.Sequential(*[PlainBlock(width, width // 16) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.unembed = nn.Linear(width, VOCABULARY)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.unembed(self.norm(self.blocks(self.embed(tokens))))
        return logits


def trainer(device: torch.device, *, width: int, layers: int, sparse: bool) -> Trainer:
    """A trainer in the middle of its run; without sparsity everything else is the same."""
    shape = Shape(
        n_layer=layers,
        d_model=width,
        d_mlp=4 * width,
        max_tokens=LENGTH,
        activation_share=0.25 if sparse else 1.0,
        sinks=False,
        bigram=False,
    )
    sparsity = (
        Sparsity(density=1 / 64, embedding_density=1 / 16, min_per_neuron=4)
        if sparse
        else Sparsity(density=1.0, embedding_density=1.0, min_per_neuron=0)
    )
    config = TrainConfig(
        steps=1000, batch=BATCH, shape=shape, sparsity=sparsity, optimizer=Optimizer(lr=1e-3)
    )
    model = SparseGPT(ModelConfig(vocab_size=VOCABULARY, **shape.model_dump()))
    initialise(model, seed=0)
    made = Trainer(model, config, World(device))
    made.done = 400  # the density is 20 % and falls
    return made


def plain_step(device: torch.device, *, width: int, layers: int) -> Callable[[Tensor], None]:
    """A step of plain PyTorch: forward, clip, AdamW."""
    model = PlainGPT(width, layers).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step(rows: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        logits = model(rows[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss.item()

    return step


def straight_abs_top_k(x: Tensor, k: int) -> Tensor:
    """AbsTopK as it is written first."""
    kept = x.abs().topk(k, dim=-1, sorted=False).indices
    return torch.zeros_like(x).scatter(-1, kept, x.gather(-1, kept))


def straight_top_k(weight: Tensor, density: float, floor: int) -> Tensor:
    """The hard top-k of a matrix with a floor on its rows, as it is written first."""
    k = int(density * weight.numel())
    magnitude = weight.abs()
    magnitude = magnitude.scatter(1, magnitude.topk(floor, dim=1).indices, float("inf"))
    kept = magnitude.flatten().topk(k, sorted=False).indices
    return torch.zeros_like(weight).flatten().scatter(0, kept, 1.0).view_as(weight)


def medians(*works: Callable[[], object], rounds: int) -> list[float]:
    """Median seconds of each piece of work, measured in turns after one round to warm up."""
    seconds: list[list[float]] = [[] for _ in works]
    for lap in range(rounds + 1):
        for spent, work in zip(seconds, works, strict=True):
            start = time.perf_counter()
            work()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if lap:
                spent.append(time.perf_counter() - start)
    return [statistics.median(spent) for spent in seconds]


def main() -> None:
    """Print the four ratios, and the seconds behind them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--layers", type=int, default=LAYERS)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    asked = parser.parse_args()
    device, size = torch.device(asked.device), {"width": asked.width, "layers": asked.layers}
    torch.manual_seed(0)
    rows = torch.randint(VOCABULARY, (BATCH, LENGTH + 1), device=device)
    sparse, dense = (trainer(device, sparse=sparse, **size) for sparse in (True, False))
    plain = plain_step(device, **size)
    steps = medians(
        lambda: sparse.step(rows),
        lambda: dense.step(rows),
        lambda: plain(rows),
        rounds=asked.rounds,
    )
    x = torch.randn(BATCH * LENGTH, 1024, device=device)
    activations = medians(
        lambda: straight_abs_top_k(x, 256), lambda: abs_top_k(x, 0.25), rounds=asked.rounds
    )
    weight = torch.randn(1024, 1024, device=device)
    weights = medians(
        lambda: straight_top_k(weight, 1 / 64, 4),
        lambda: largest(weight, 1 / 64, floor=4),
        rounds=asked.rounds,
    )
    print(f"threads: {torch.get_num_threads()}, device: {device}")
    print("step_ms: " + ", ".join(f"{1000 * s:.0f}" for s in steps) + " (sparse, dense, plain)")
    print(f"sparse_over_dense: {steps[0] / steps[1]:.2f}")
    print(f"dense_over_plain: {steps[1] / steps[2]:.2f}")
    print(f"abstopk_speedup: {activations[0] / activations[1]:.1f}")
    print(f"topk_speedup: {weights[0] / weights[1]:.1f}")


if __name__ == "__main__":
    main()
