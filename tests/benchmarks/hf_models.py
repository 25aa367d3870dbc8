"""Models of transformers: whether every family does what its sites say, and what hooks cost.

`families` counts the tiny random models, one a family, that open and whose nodes, set to zero, are
their weights set to zero: each head, some neurons, some residual channels, each expert.
`max_difference` is the largest difference of a logit among these, between attention in the open and
the fused kernel, and between padding on the right and none, over the largest logit of its model.
`left_padding` is the same where the library pads on the left and is told the positions.

At the shape of GPT-2 small, with random weights: `hooked_over_plain` is the time of a forward of 32
rows of 64 tokens with every head of one circuit but two ablated, over that of the plain forward.
`claims_over_forwards` is that of two claims about a circuit of two heads, over that of as many
prompts run plainly in batches. `memory_over_plain` is the peak of the process after the claims,
over that after plain forwards.

Run: python tests/benchmarks/hf_models.py [--repeats 3] [--layers 12]
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[2]))

from pytest_circuits.circuit.interventions import run_circuits
from pytest_circuits.circuit.masks import masks_of
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.scope import in_scope
from pytest_circuits.claims.laws import run_claim
from pytest_circuits.claims.setup import make_bench
from pytest_circuits.errors import ModelError
from pytest_circuits.model.huggingface.adapter import HuggingFaceModel
from pytest_circuits.model.open import load_model
from pytest_circuits.model.protocol import Model, Shows, gauges_of
from pytest_circuits.model.reference import measure
from pytest_circuits.model.reference_file import load_reference, save_reference
from pytest_circuits.spec.load import LoadedSpec, load_spec
from tests.huggingface.families import FAMILIES, edited, make, save, zero
from tests.huggingface.side import BEHAVIOR, WORDS

TOKENS = torch.tensor([[3, 9, 27, 17, 51, 25], [5, 25, 61, 49, 53, 9]])
CIRCUIT = {"3.attn.head": [2], "7.attn.head": [5]}
SPEC = f"""version: 1
circuit: side
model: model
{BEHAVIOR.replace("count: [1, 4]", "count: [1, 1]")}ablation: mean
sites: [attn.head]
nodes: {CIRCUIT}
claims:
  behaves: {{rate: 0.9}}
  sufficient: {{rate: 0.9, max_loss: 0.2}}
protocol: {{pairs: 100, search: 10, controls: 19, margin: 0.5}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--layers", type=int, default=12)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        of_families(Path(name))
        of_costs(Path(name) / "small", layers=given.layers, repeats=given.repeats)


@torch.inference_mode()
def of_families(folder: Path) -> None:
    """Open each family, and hold what its sites say against its weights."""
    opened, largest, left = 0, 0.0, 0.0
    for family in FAMILIES:
        try:
            model = load_model(save(make(family), folder / family))
        except ModelError as error:
            print(f"{family}: refused: {error}")
            continue
        if not isinstance(model, HuggingFaceModel):
            continue
        plain = model.run(TOKENS)
        size = float(plain.abs().max())
        apart = max(float((one - other).abs().max()) / size for one, other in compared(model))
        padded = float((_left_padded(model) - plain[:, -1]).abs().max()) / size
        print(f"{family}: {apart:.1e} (padding on the left {padded:.1e})")
        opened, largest, left = opened + 1, max(largest, apart), max(left, padded)
    print(f"families: {opened} of {len(FAMILIES)}")
    print(f"max_difference: {largest:.2g}")
    print(f"left_padding: {left:.2g}")


def compared(model: HuggingFaceModel) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits that have to be the same."""
    plain = model.run(TOKENS)
    yield model.run(torch.nn.functional.pad(TOKENS, (0, 5)))[:, : TOKENS.shape[1]], plain
    if patterns := gauges_of(model, Shows.PATTERN):
        yield model.run(TOKENS, lambda _name, x: x, gauges=tuple(patterns)), plain
    for name, site in model.sites.items():
        every = site.width if site.width <= 16 else 4
        for node in range(every if site.layer is not None else 0):
            channels = slice(node * site.channels, (node + 1) * site.channels)
            with edited(model, name, channels) as possible:
                expected = model.run(TOKENS) if possible else None
            if expected is not None:
                yield model.run(TOKENS, zero(name, channels)), expected


def _left_padded(model: HuggingFaceModel) -> Tensor:
    """Logits of the last token where the library pads on the left."""
    tokens = torch.nn.functional.pad(TOKENS, (3, 0))
    mask = (torch.arange(tokens.shape[1]) >= 3).long().expand(tokens.shape)
    told: dict[str, Any] = {"attention_mask": mask}
    if model.module.config.model_type != "bloom":  # which has no positions
        told["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
    logits: Tensor = model.module(input_ids=tokens, use_cache=False, **told).logits
    return logits[:, -1]


def of_costs(path: Path, *, layers: int, repeats: int) -> None:
    """Time hooked forwards and claims at the shape of GPT-2 small."""
    loaded, model = _small(path, layers)
    shown = in_scope(loaded.spec, model)
    tokens = torch.randint(model.vocab_size, (32, 64))
    at, reference = torch.full((32,), 63), load_reference(model)
    keep = masks_of(shown, [Nodes.of({name: tuple(n) for name, n in CIRCUIT.items()})])
    plain, hooked = _alternating(
        lambda: model.run(tokens, at=at),
        lambda: run_circuits(shown, tokens, at=at, keep=keep, fill=reference.mean),
        repeats=repeats,
    )
    print(f"plain_seconds: {plain:.2f}")
    print(f"hooked_over_plain: {hooked / plain:.3f}")
    before = _peak()
    bench = make_bench(loaded, model)
    start = time.process_time()
    for claim in ("behaves", "sufficient"):
        print(f"  {claim}: {run_claim(bench, claim).verdict}")
    claims = time.process_time() - start
    seconds, prompts = _plainly(model, bench.runner.forwards)
    print(f"forwards: {prompts}")
    print(f"claims_seconds: {claims:.1f}")
    print(f"claims_over_forwards: {claims / seconds:.2f}")
    print(f"memory_over_plain: {_peak() / before:.2f}")


def _small(path: Path, layers: int) -> tuple[LoadedSpec, Model]:
    path.mkdir()
    module = make("gpt2", n_embd=768, n_head=12, n_layer=layers, n_positions=1024, vocab_size=50257)
    with torch.no_grad():
        for weight in module.parameters():
            weight.mul_(0.1)
    save(module, path / "model", vocabulary=list(WORDS))
    model = load_model(path / "model")
    rows = torch.randint(len(WORDS), (16, 16), generator=torch.Generator().manual_seed(0))
    save_reference(model, measure(model, rows))
    (path / "side.circuit.yaml").write_text(SPEC)
    return load_spec(path / "side.circuit.yaml"), model


@torch.inference_mode()
def _alternating(*works: Callable[[], object], repeats: int) -> list[float]:
    """The least CPU seconds of each work, with the works taking turns."""
    least = [float("inf")] * len(works)
    for _ in range(repeats):
        for place, work in enumerate(works):
            start = time.process_time()
            work()
            least[place] = min(least[place], time.process_time() - start)
    return least


@torch.inference_mode()
def _plainly(model: Model, prompts: int) -> tuple[float, int]:
    """Seconds of so many prompts, of the padded length of the specification's, in batches."""
    tokens, start = torch.randint(len(WORDS), (256, 8)), time.process_time()
    for begin in range(0, prompts, 256):
        rows = tokens[: min(256, prompts - begin)]
        model.run(rows, at=torch.full((len(rows),), 7))
    return time.process_time() - start, prompts


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
