"""What the bundled circuits do under each assumption, one row a circuit.

Loss: task loss of the circuit alone, in nats. Flips: the share of prompts whose foil is preferred
with only the circuit at the partner's values. Cut: the share that keep the answer with the edges
of the circuit cut and its nodes alive, and the nats by which pairs are still told apart. Gap: task
loss above the whole model's with the worst part found of the rest ablated, by contrast of any size,
by mean of one element and of two, ablated in the whole model or left intact beside the circuit.
Attention: the greatest total variation of a kept head's attention from that in the whole model.

Run: python tests/benchmarks/bundled.py [SPEC ...]
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pytest_circuits.circuit.edges import count_edges
from pytest_circuits.circuit.view import WHOLE, View
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.faithful.internals import look_inside
from pytest_circuits.claims.setup import make_bench
from pytest_circuits.claims.statistics import softplus
from pytest_circuits.errors import SpecError
from pytest_circuits.model.open import load_model
from pytest_circuits.model.protocol import Model
from pytest_circuits.spec.ablations import Ablation
from pytest_circuits.spec.load import load_spec

ROOT = Path(__file__).resolve().parents[2]
HEAD = (
    *("circuit", "nodes", "edges", "loss, mean", "loss, contrast", "flips", "cut", "nats left"),
    *("gap, contrast", "gap, mean, 1", "gap, mean, 2", "attention"),
)


def bench_of(path: Path, models: dict[Path, Model]) -> Bench | None:
    """The circuit of a specification under the mean; None where it names no nodes."""
    loaded = load_spec(path)
    if not loaded.spec.nodes:
        return None
    both = loaded.spec.model_copy(update={"ablations": (Ablation.MEAN, Ablation.CONTRAST)})
    loaded = replace(loaded, spec=both)
    if loaded.model_path not in models:
        models[loaded.model_path] = load_model(loaded.model_path)
    return make_bench(loaded, models[loaded.model_path])


def gap(bench: Bench, view: View) -> float:
    """Task loss in nats above the whole model's."""
    whole, ablated = (bench.runner.margins(bench.gap_pairs, each) for each in (WHOLE, view))
    return float((softplus(ablated) - softplus(whole)).mean())


def row(bench: Bench) -> list[str]:
    """The figures of one circuit."""
    mean, contrast = bench.each
    pairs = bench.sample.pairs
    cut = mean.runner.margins(pairs, bench.cut)
    few = [replace(mean.parts, few=count) for count in (1, 2)]
    attention = look_inside(bench).attention.mean(axis=1).max(initial=0)
    shown = [
        f"{softplus(mean.runner.margins(pairs, bench.circuit)).mean():.3f}",
        *by_contrast(contrast),
        f"{np.mean(cut > 0):.3f}",
        f"{cut.mean():.2f} of {mean.runner.margins(pairs, WHOLE).mean():.2f}",
        gap_by_contrast(contrast),
        *(f"{gap(mean, bench.rest.without(parts.worst_few)):.2f}" for parts in few),
        f"{attention:.2f}",
    ]
    edges = count_edges(bench.nodes, bench.model, bench.edges)
    return [bench.spec.circuit, str(bench.nodes.count), str(edges), *shown]


def by_contrast(bench: Bench) -> list[str]:
    """Loss and flips; nothing where the prompts of a pair do not correspond."""
    try:
        alone, without = (
            bench.runner.margins(bench.sample.pairs, view)
            for view in (bench.circuit, bench.without)
        )
    except SpecError:
        return ["-", "-"]
    return [f"{softplus(alone).mean():.3f}", f"{np.mean(without < 0):.3f}"]


def gap_by_contrast(bench: Bench) -> str:
    """With the worst part of any size."""
    try:
        return f"{gap(bench, bench.parts.without_worst):.2f}"
    except SpecError:
        return "-"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("specs", type=Path, nargs="*")
    paths = parser.parse_args().specs or sorted((ROOT / "circuits").glob("*.circuit.yaml"))
    models: dict[Path, Model] = {}
    print(f"| {' | '.join(HEAD)} |\n|{' --- |' * len(HEAD)}")
    for path in paths:
        bench = bench_of(path, models)
        if bench is not None:
            print(f"| {' | '.join(row(bench))} |", flush=True)


if __name__ == "__main__":
    main()
