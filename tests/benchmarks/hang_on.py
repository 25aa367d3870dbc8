"""On how many nodes the answers of a model hang, one row a behavior.

A node counts where ablating it would move the answer's margin over the foil by more than 0.1 nats,
to first order, a mean over 64 pairs: by the other prompt's values (`cue`), by the means of text
(`text`). It is what `pairs` of a training puts a price on, and tells models apart without a search.
Least: the least margin of a prompt, in nats. Turned: of the prompts whose tokens are exchanged for
those of the partner that correspond, the share that prefers the foil.

Run: python tests/benchmarks/hang_on.py MODEL ... [--circuits FOLDER]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from torch import Tensor
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pytest_circuits.model.reference_file import load_reference
from pytest_circuits.model.sparse.directory import load_sparse_model
from pytest_circuits.prompts.space import PromptSpace
from pytest_circuits.spec.load import load_spec
from pytest_circuits.train.behaviors import Tokens
from pytest_circuits.train.pairs import Effects, encoded, turned

ROOT = Path(__file__).resolve().parents[2]
PAIRS, SEED, SMALL = 64, 9, 0.1


def nodes(effects: dict[str, Tensor]) -> int:
    """How many nodes have an effect above SMALL nats."""
    return sum(int((x.mean(0) > SMALL).sum()) for x in effects.values())


def measured(path: Path, specs: list[Path]) -> None:
    """Print the rows of one model, and what they come to."""
    model = load_sparse_model(path)
    means = load_reference(model).mean
    model.module.requires_grad_()
    reader, counts = Tokens(model.tokenizer, model.max_tokens, model.device), []
    print(f"\n{path}\n\n| behavior | accuracy | loss | least | turned | cue | text |")
    print("|---|---|---|---|---|---|---|")
    for spec in specs:
        space = PromptSpace(load_spec(spec).spec.behavior)
        few = space.size <= PAIRS
        pairs = [p for p, _ in space.enumerate()] if few else space.sample(PAIRS, seed=SEED)
        prompts = encoded(pairs, reader)
        effects = Effects.of(model.module, prompts, means)
        margins, other = effects.margins.detach(), turned(model.module, prompts).detach()
        counts.append([nodes(effects.by_cue), nodes(effects.by_text)])
        print(
            f"| `{spec.name.partition('.')[0]}` | {float((margins > 0).float().mean()):.3f} | "
            f"{float(F.softplus(-margins).mean()):.3f} | {float(margins.min()):.2f} | "
            f"{f'{float((other > 0).float().mean()):.2f}' if len(other) else '-'} | "
            f"{counts[-1][0]} | {counts[-1][1]} |"
        )
    cue, text = np.exp(np.log(np.maximum(counts, 1)).mean(0))
    print(f"\ngeometric means: cue {cue:.1f}, text {text:.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--circuits", type=Path, default=ROOT / "circuits")
    asked = parser.parse_args()
    for path in asked.models:
        measured(path, sorted(asked.circuits.glob("*.circuit.yaml")))


if __name__ == "__main__":
    main()
