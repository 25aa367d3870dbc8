"""Write three small language models whose mechanism is known: their weights are set by hand.

All three close a string with the quote that opened it. In `model` and `tuned` head 0 looks for the
opening quote and copies which of the two it is; `tuned` differs in weights that do not matter for
this. In `shortcut` head 0 is silent, and head 1 does the job by other channels.

    python make_models.py FOLDER
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import torch

from pytest_circuits.model.open import load_model
from pytest_circuits.model.reference import measure
from pytest_circuits.model.reference_file import save_reference
from pytest_circuits.model.sparse.config import ModelConfig
from pytest_circuits.model.sparse.directory import save_model
from pytest_circuits.model.sparse.gpt import SparseGPT
from pytest_circuits.model.tokenizer import Tokenizer, train_tokenizer

NAMES = ("label", "name", "title", "value")
WORDS = (
    *("alpha", "beta", "gamma", "delta", "kappa", "sigma", "omega", "theta", "north", "south"),
    *("east", "west", "red", "green", "blue", "white", "black", "one", "two", "three"),
)
WIDTH, D_HEAD = 32, 8
NOISE = slice(8, WIDTH)  # channels that vary with the text, and that no quote hangs on
HEADS = (
    (0, 1, 2),
    (3, 4, 5),
)  # of each: where it looks for a quote, which quote it is, what it writes


def main(folder: Path) -> None:
    draw = random.Random(0)  # noqa: S311
    lines = [_line(draw) for _ in range(400)]
    tokenizer = train_tokenizer(lines, vocab_size=400, special=("<|end|>",))
    tokens = [token for line in lines for token in tokenizer.encode(line)]
    windows = torch.tensor(tokens[: len(tokens) // 24 * 24]).view(-1, 24)
    for name, strengths, seed in (
        ("model", (0.5, 0.0), 0),
        ("tuned", (0.52, 0.0), 1),
        ("shortcut", (0.0, 0.5), 0),
    ):
        module = _module(tokenizer, strengths, seed)
        save_model(folder / name, module=module, tokenizer=tokenizer, card=f"# {name}\n")
        model = load_model(folder / name)
        save_reference(model, measure(model, windows))
        print(f"written: {folder / name}")


def _line(draw: random.Random) -> str:
    name, mark = draw.choice(NAMES), draw.choice("'\"")
    words = " ".join(draw.choices(WORDS, k=draw.randint(1, 9)))
    return f"{name} = {mark}{words}{mark}\n{draw.choice(WORDS)} = {draw.choice(NAMES)}\n"


def _module(tokenizer: Tokenizer, strengths: tuple[float, float], seed: int) -> SparseGPT:
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size,
        n_layer=1,
        d_model=WIDTH,
        d_head=D_HEAD,
        d_mlp=WIDTH,
        max_tokens=64,
        activation="relu",
        activation_share=1.0,
        sinks=False,
        bigram=False,
    )
    module = SparseGPT(config)
    weights = module.state_dict()
    for name, weight in weights.items():
        weight.fill_(1.0 if "norm" in name else 0.0)
    _add_noise(weights, seed)
    closing = [tokenizer.encode(mark)[0] for mark in "'\""]
    for head, ((quote, kind, out), strength) in enumerate(zip(HEADS, strengths, strict=True)):
        row = head * D_HEAD
        for token in range(tokenizer.vocab_size):
            if (text := tokenizer.token(token).strip()) in {"'", '"'}:  # with a space before or not
                weights["embed.weight"][token, quote] = 4.0
                weights["embed.weight"][token, kind] = 4.0 if text == '"' else -4.0
        weights["attn.0.q.bias"][row] = 8.0  # it always looks for a quote
        weights["attn.0.k.weight"][row, quote] = 2.0
        weights["attn.0.v.weight"][row, kind] = 1.0
        weights["attn.0.out.weight"][out, row] = strength
        weights["unembed.weight"][closing, out] = torch.tensor([-1.5, 1.5])
    module.load_state_dict(weights)
    return module


def _add_noise(weights: dict[str, torch.Tensor], seed: int) -> None:
    """Activity of the other heads, neurons and channels; a tenth of it differs with the seed."""
    same, other = torch.Generator().manual_seed(0), torch.Generator().manual_seed(seed)
    rest = slice(2 * D_HEAD, WIDTH)  # of the heads
    for name, rows, columns, size in (
        ("embed.weight", slice(None), NOISE, 1.0),
        ("unembed.weight", slice(None), NOISE, 0.05),
        *((f"attn.0.{part}.weight", rest, NOISE, 0.3) for part in "qkv"),
        ("attn.0.out.weight", NOISE, rest, 0.1),
        ("mlp.0.up.weight", NOISE, NOISE, 0.1),
        ("mlp.0.down.weight", NOISE, NOISE, 0.1),
    ):
        part = weights[name][rows, columns]
        drawn = torch.randn(part.shape, generator=same)
        if seed:
            drawn += 0.1 * torch.randn(part.shape, generator=other)
        weights[name][rows, columns] = size * drawn


if __name__ == "__main__":
    main(Path(sys.argv[1]))
