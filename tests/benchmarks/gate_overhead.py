"""What the gate costs: its wall time, and the time in claims over that of the forwards alone.

`gate_seconds` is one `pytest --circuits` as a whole process. `claims_over_forwards` puts every
claim of the specifications to the test in this process, and divides the time by that of as many
prompts, drawn from the same spaces, run plainly through the model in batches of 256. As many as the
claims ran through the model: what compiled circuits ran instead counts in the claims' time alone.

Run: python tests/benchmarks/gate_overhead.py [--circuits DIR] [--repeats 3]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from pytest_circuits.circuit.encoding import Encoder
from pytest_circuits.claims import (
    baseline_path,
    declared,
    make_bench,
    read_baseline,
    run_claim,
)
from pytest_circuits.model import Model, load_model
from pytest_circuits.prompts import PromptSpace
from pytest_circuits.spec import LoadedSpec, load_spec

ROOT = Path(__file__).parents[2]
BATCH = 256


def claims_seconds(specs: list[LoadedSpec], model: Model) -> tuple[float, dict[str, int], int]:
    """Seconds to put every claim to the test, the prompt-forwards of each circuit, and the rest.

    The rest are the prompts that ran as compiled circuits.
    """
    forwards, compiled = {}, 0
    start = time.perf_counter()
    for loaded in specs:
        recorded = read_baseline(baseline_path(loaded.path, loaded.spec.circuit))
        bench = make_bench(loaded, model, baseline=recorded)
        for claim in declared(loaded.spec):
            run_claim(bench, claim)
        forwards[loaded.spec.circuit] = bench.runner.forwards
        compiled += bench.runner.compiled
    return time.perf_counter() - start, forwards, compiled


@torch.inference_mode()
def forwards_seconds(specs: list[LoadedSpec], model: Model, forwards: dict[str, int]) -> float:
    """Seconds of as many prompts through the plain model, in batches of one padded length."""
    seconds = 0.0
    for loaded in specs:
        encoder = Encoder(model)
        pairs = PromptSpace(loaded.spec.behavior).sample(BATCH // 2, seed=0)
        prompts = [prompt for pair in pairs for prompt in (pair.first, pair.second)]
        groups = [[prompts[i] for i in g] for g in encoder.groups(prompts, rows=BATCH)]
        for group in groups:
            share = forwards[loaded.spec.circuit] * len(group) / len(prompts)
            batch = encoder.batch((group * BATCH)[:BATCH], rows=BATCH)
            start = time.perf_counter()
            for _ in range(max(1, round(share / BATCH))):
                model.module(batch.tokens, at=batch.last)
            seconds += time.perf_counter() - start
    return seconds


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--circuits", type=Path, default=ROOT / "circuits")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    specs = [load_spec(path) for path in sorted(arguments.circuits.glob("*.circuit.yaml"))]
    model = load_model(specs[0].model_path)
    ratios = []
    for _ in range(arguments.repeats):
        in_claims, forwards, compiled = claims_seconds(specs, model)
        alone = forwards_seconds(specs, model, forwards)
        ratios.append(in_claims / alone)
        print(f"claims {in_claims:.1f} s, forwards alone {alone:.1f} s")
    print(f"circuits: {len(specs)}")
    print(f"prompt_forwards: {sum(forwards.values())}")
    print(f"compiled_prompts: {compiled}")
    command = [sys.executable, "-m", "pytest", "--circuits", str(arguments.circuits), "-q"]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)
    print(f"gate_seconds: {seconds:.1f}")
    print(f"claims_over_forwards: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
