"""Held-out loss against density, at two widths: what sparsity costs.

Trains one model for each width and density, with the recipe of the bundled model and the same
text, and prints a table of the held-out loss of the standard library (nats per token); embeddings
stay four times as dense as block matrices, as in the released script. `--picture FILE` draws it.

Run: python tests/benchmarks/density.py [--widths 64 128] [--steps 1000] [--picture FILE.svg]
"""

from __future__ import annotations

import argparse
import sys
from math import log2
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "models"))

from tinypython_text import write

from pytest_circuits.model.sparse.config import ModelConfig
from pytest_circuits.model.sparse.gpt import SparseGPT
from pytest_circuits.train.config import Optimizer, Shape, Sparsity, TrainConfig
from pytest_circuits.train.data.config import Data, Folder, Library, Source
from pytest_circuits.train.data.corpus import Corpus, prepare
from pytest_circuits.train.distributed import World
from pytest_circuits.train.evaluation import Evaluator
from pytest_circuits.train.loop import Trainer, initialise

DENSITIES = (1.0, 1 / 4, 1 / 16, 1 / 64)
LIBRARY = "library"
DATA = Data(sources=(Source(library=Library()), Source(folder=Folder(path="text"))))
Losses = dict[tuple[int, float], float]  # (width, density) -> nats per token


def recipe(width: int, density: float, steps: int) -> TrainConfig:
    """The configuration of one of the models."""
    return TrainConfig(
        steps=steps,
        shape=Shape(d_model=width, d_mlp=4 * width),
        sparsity=Sparsity(density=density, embedding_density=min(1.0, 4 * density)),
        optimizer=Optimizer(lr=0.03, eps=0.1, normalise="rms", sharkfin=True),
    )


def held_out_loss(config: TrainConfig, corpus: Corpus) -> float:
    """Train a model and return its loss on held-out standard library."""
    device = torch.device("cpu")
    model = SparseGPT(
        ModelConfig(vocab_size=corpus.tokenizer.vocab_size, **config.shape.model_dump())
    )
    initialise(model, seed=config.seed)
    trainer = Trainer(model, config, World(device))
    for step in range(config.steps):
        length = config.shape.max_tokens + 1
        trainer.step(
            corpus.training.rows(seed=config.seed, step=step, count=config.batch, length=length)
        )
    return Evaluator(config, corpus, base=Path(), device=device).measure(model).losses[LIBRARY]


def table(losses: Losses) -> str:
    """The losses as Markdown, a row for each width."""
    widths = sorted({width for width, _ in losses})
    lines = ["| width | " + " | ".join(map(_share, DENSITIES)) + " |"]
    lines += ["|---" * (len(DENSITIES) + 1) + "|"]
    lines += [
        f"| {width} | " + " | ".join(f"{losses[width, d]:.3f}" for d in DENSITIES) + " |"
        for width in widths
    ]
    return "\n".join(lines)


def _share(density: float) -> str:
    return "1" if density == 1 else f"1/{1 / density:.0f}"


def picture(losses: Losses) -> str:
    """The losses as an SVG: density from left to right, one line for each width."""
    low, high = min(losses.values()) - 0.05, max(losses.values()) + 0.05

    def x(density: float) -> float:
        return 80 - log2(density) * 75

    def y(loss: float) -> float:
        return 40 + (high - loss) / (high - low) * 240

    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 340" font-family="sans-serif">',
        "<style>text { font-size: 14px }</style>",
        '<rect width="640" height="340" fill="white"/>',
        '<path d="M80 40V280H530" fill="none" stroke="#888"/>',
        '<text x="305" y="325" text-anchor="middle">density of the block matrices</text>',
        '<text x="20" y="24">held-out loss of library text, nats per token</text>',
    ]
    for density in DENSITIES:
        parts.append(f'<text x="{x(density):.0f}" y="300" text-anchor="middle">')
        parts.append(f"{_share(density)}</text>")
    for tick in range(5):
        loss = low + (high - low) * tick / 4
        parts.append(f'<path d="M76 {y(loss):.1f}H530" stroke="#eee"/>')
        parts.append(f'<text x="70" y="{y(loss) + 5:.1f}" text-anchor="end">{loss:.2f}</text>')
    for width, colour in zip(
        sorted({width for width, _ in losses}), ("#0072b2", "#d55e00", "#009e73"), strict=False
    ):
        points = [(x(d), y(losses[width, d])) for d in DENSITIES]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{px:.1f}" cy="{py:.1f}" r="4" fill="{colour}"/>' for px, py in points
        ]
        last_x, last_y = points[-1]
        parts.append(
            f'<text x="{last_x + 12:.0f}" y="{last_y + 5:.0f}" fill="{colour}">width {width}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    """Train, and print the table as it grows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--picture", type=Path)
    asked = parser.parse_args()
    losses: Losses = {}
    with TemporaryDirectory() as folder:
        write(Path(folder) / "text", seed=0, documents=3000)
        corpus = prepare(DATA, Path(folder) / "tokens", base=Path(folder))
        for width in asked.widths:
            for density in DENSITIES:
                losses[width, density] = held_out_loss(recipe(width, density, asked.steps), corpus)
                print(
                    f"width {width}, density {density:.4f}: {losses[width, density]:.3f}",
                    file=sys.stderr,
                )
    print(table(losses))
    if asked.picture:
        asked.picture.write_text(picture(losses), encoding="utf-8")


if __name__ == "__main__":
    main()
