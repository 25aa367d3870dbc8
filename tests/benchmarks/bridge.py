"""A dense model made sparse under bounds on its loss, and the circuits before and after.

Trains a dense GPT-2 of two layers on the text of the bundled model, makes it sparse under several
bounds, and searches the circuits of bundled behaviors in each of them by the same command. Prints a
table: weights left, loss on text of another seed, and how many nodes each circuit has. Circuits of
heads alone take minutes, those of heads and neurons (--sites) much longer.

Run: python tests/benchmarks/bridge.py --out FOLDER [--dense-steps 1500] [--steps 1500]
     [--rises 0.1] [--sites attn.head] [--behaviors single_double_quote class_init ...]
What is in the folder already is not made again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "models"))

from tinypython_text import write

from pytest_circuits.cli import main as cli
from pytest_circuits.errors import STOPPED
from pytest_circuits.model.huggingface import directory
from pytest_circuits.model.open import load_model
from pytest_circuits.model.reference_file import measure_reference, text_windows
from pytest_circuits.train.data.config import Data, Folder, Library, Source, Vocabulary
from pytest_circuits.train.data.corpus import Corpus, prepare

ROOT = Path(__file__).resolve().parents[2]
TOKENIZER = ROOT / "models/tinypython/tokenizer.json"
WINDOW, BATCH = 64, 32
SOURCES = (
    Source(library=Library(share=0.4)),
    Source(folder=Folder(path="text", share=0.6, name="generated")),
)
SHAPE = {"n_layer": 2, "n_embd": 128, "n_head": 8, "n_positions": 128}
BEHAVIORS = ("single_double_quote", "class_init", "var_swap", "with_as")


def make_dense(path: Path, corpus: Corpus, *, steps: int) -> None:
    """Train a GPT-2 from random weights and write its directory."""
    from transformers import GPT2Config, GPT2LMHeadModel  # noqa: PLC0415  (an extra)

    torch.manual_seed(0)
    size = corpus.tokenizer.vocab_size
    end = corpus.tokenizer.id_of("<|endoftext|>")
    dropped = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    shape: dict[str, Any] = SHAPE | dropped | {"bos_token_id": end, "eos_token_id": end}
    module: Any = GPT2LMHeadModel(GPT2Config(vocab_size=size, **shape))
    optimizer = torch.optim.AdamW(module.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.1)
    decay = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.03)
    for step in range(steps):
        rows = corpus.training.rows(seed=0, step=step, count=BATCH, length=WINDOW)
        loss = module(input_ids=rows, labels=rows).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        decay.step()
        if step % 100 == 0:
            print(f"dense, step {step}: loss {loss.item():.3f}", file=sys.stderr)
    module.save_pretrained(path)
    corpus.tokenizer.save(path / "tokenizer.json")
    windows = corpus.training.rows(seed=1, step=0, count=128, length=WINDOW)
    measure_reference(load_model(path), windows)


def make_sparse(folder: Path, rise: float, *, steps: int) -> Path:
    """Make the dense model sparse by the command; returns its directory."""
    out = folder / f"rise_{rise:g}"
    config = {
        "max_rise": rise,
        "steps": steps,
        "batch": BATCH,
        "max_tokens": WINDOW,
        "data": {"sources": [s.model_dump(mode="json", exclude_none=True) for s in SOURCES]},
        "optimizer": {"lr": 0.002},
    }
    file = folder / f"{out.name}.train.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    if status := run("train", file, "--from", folder / "dense", "--out", out, "--resume"):
        sys.exit(status)
    return out


def run(*arguments: object) -> int:
    """Run a command of pytest-circuits; returns its exit status."""
    try:
        cli([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def circuit(model: Path, behavior: str, sites: list[str]) -> dict[str, Any]:
    """Search the circuit of a behavior; how many nodes of each site it has, and its seconds."""
    among = "+".join(sites)
    file = model.parent / f"{model.name}.{behavior}.{among}.circuit.yaml"
    kept = file.with_suffix(".json")
    if kept.exists():
        found: dict[str, Any] = json.loads(kept.read_text())
        return found
    said = yaml.safe_load((ROOT / f"circuits/{behavior}.circuit.yaml").read_text())
    asked = {key: said[key] for key in ("version", "circuit", "behavior")} | {
        "model": model.name,
        "ablation": "contrast",
        "sites": sites,
        "claims": {
            "behaves": {"rate": 0.95},
            "sufficient": {"rate": 0.9, "max_loss": 0.15},
            "necessary": {"max_rate": 0.6},
        },
    }
    file.write_text(yaml.safe_dump(asked, sort_keys=False))
    start = time.monotonic()
    status = run("prune", file, "--no-controls")
    if status == STOPPED:
        sys.exit(status)
    nodes = yaml.safe_load(file.read_text()).get("nodes") or {}
    sizes = {
        point: sum(len(some) for site, some in nodes.items() if site.endswith(f".{point}"))
        for point in sites
    }
    weights = weights_of_heads(model, nodes)
    found = {
        "sizes": sizes,
        "weights": weights,
        "status": status,
        "seconds": round(time.monotonic() - start, 1),
    }
    kept.write_text(json.dumps(found))
    return found


@torch.inference_mode()
def loss_on(model: Path, text: Path) -> float:
    """Nats per token on text that no model has seen."""
    loaded = directory.load(model, device=torch.device("cpu"))
    windows = text_windows(sorted(text.glob("*.py")), loaded.encode, length=WINDOW + 1)[:1024]
    logits = torch.cat([loaded.run(rows[:, :-1]) for rows in torch.split(windows, BATCH)])
    return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten()))


def weights_left(model: Path) -> str:
    """Entries of the matrices of the layers that are not zero, and their share."""
    module: Any = directory.load(model, device=torch.device("cpu")).module
    matrices = [p for name, p in module.named_parameters() if ".h." in name and p.dim() == 2]
    left, size = (sum(f(p) for p in matrices) for f in (torch.count_nonzero, torch.numel))
    return f"{int(left):,} ({int(left) / int(size):.1%})"


def weights_of_heads(model: Path, nodes: dict[str, list[int]]) -> int:
    """Weights that are not zero by which heads of a GPT-2 read and write the residual stream."""
    module: Any = directory.load(model, device=torch.device("cpu")).module
    size, total = SHAPE["n_embd"] // SHAPE["n_head"], 0
    for site, heads in nodes.items():
        layer, _, point = site.partition(".")
        if point != "attn.head":
            continue
        attention = module.transformer.h[int(layer)].attn
        for head in heads:
            mine = slice(head * size, (head + 1) * size)
            read = attention.c_attn.weight.view(SHAPE["n_embd"], 3, -1)[:, :, mine]
            total += int(read.count_nonzero()) + int(attention.c_proj.weight[mine].count_nonzero())
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dense-steps", type=int, default=1500)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--rises", type=float, nargs="+", default=[0.1])
    parser.add_argument("--sites", nargs="+", default=["attn.head"])
    parser.add_argument("--behaviors", nargs="+", default=list(BEHAVIORS))
    asked = parser.parse_args()
    folder = asked.out.resolve()
    for name, seed, documents in (("text", 0, 3000), ("unseen", 1, 300)):
        if not (folder / name).exists():
            write(folder / name, seed=seed, documents=documents)
    if not (folder / "dense").exists():
        data = Data(sources=SOURCES, tokenizer=Vocabulary(file=str(TOKENIZER)))
        corpus = prepare(data, folder / "tokens", base=folder)
        make_dense(folder / "dense", corpus, steps=asked.dense_steps)
    models = [folder / "dense"] + [make_sparse(folder, r, steps=asked.steps) for r in asked.rises]
    heads = ["weights of the layers", "loss, unseen text", *asked.behaviors]
    print("| model | " + " | ".join(heads) + " |")
    print("|---" * (len(heads) + 1) + "|")
    for model in models:
        cells = [weights_left(model), f"{loss_on(model, folder / 'unseen'):.3f}"]
        for behavior in asked.behaviors:
            found = circuit(model, behavior, asked.sites)
            size = ", ".join(f"{count} {point}" for point, count in found["sizes"].items())
            size += f" ({found['weights']:,} weights of heads)"
            cells.append(size if not found["status"] else f"{size}: not good enough")
        print(f"| {model.name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
