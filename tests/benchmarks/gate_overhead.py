"""What the gate costs: its wall time, and the time in claims over that of the forwards alone.

`gate_seconds` is one `pytest --circuits` as a whole process. `claims_over_forwards` puts every
claim of the specifications to the test in this process, and divides the time by that of as many
prompts, drawn from the same spaces, run plainly through the model in batches of 256. As many as the
claims ran through the model: what compiled circuits ran instead counts in the claims' time alone.

`candidate_over_alone` is the time of the claims about a candidate, the model in bfloat16, over that
of the claims about the model itself, both against the recorded baselines, and
`candidate_against_model_over_alone` the same with the model as the baseline.
`slowest_circuit_seconds` is the longest that all claims of one circuit take.

Run: python tests/benchmarks/gate_overhead.py [--circuits DIR] [--repeats 2]
"""

from __future__ import annotations

import argparse
import copy
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from pytest_circuits.circuit.encoding import Encoder
from pytest_circuits.circuit.runner import Wholes
from pytest_circuits.claims.laws import run_claim
from pytest_circuits.claims.registry import declared
from pytest_circuits.claims.setup import make_bench
from pytest_circuits.claims.stable.baseline_file import baseline_path, read_baseline
from pytest_circuits.model.reference import measure
from pytest_circuits.model.reference_file import read_reference_text, save_reference
from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.model.sparse.directory import load_sparse_model, save_model
from pytest_circuits.prompts.space import PromptSpace
from pytest_circuits.spec.load import LoadedSpec, load_spec

ROOT = Path(__file__).parents[2]
BATCH = 256


@dataclass(frozen=True, slots=True)
class Claims:
    """All claims of some specifications put to the test.

    seconds, forwards: of each circuit. compiled: prompts that ran as compiled circuits.
    """

    seconds: dict[str, float]
    forwards: dict[str, int]
    compiled: int

    @property
    def total(self) -> float:
        """Seconds of all of them."""
        return sum(self.seconds.values())


def run_claims(
    specs: list[LoadedSpec], model: SparseModel, baseline: SparseModel | None = None
) -> Claims:
    """Put every claim to the test, against a model or the recorded baselines."""
    seconds, forwards, compiled = {}, {}, 0
    wholes: Wholes = {}
    for loaded in specs:
        start = time.perf_counter()
        recorded = read_baseline(baseline_path(loaded.path, loaded.spec.circuit))
        bench = make_bench(loaded, model, baseline=baseline or recorded, wholes=wholes)
        for claim in declared(loaded.spec):
            run_claim(bench, claim)
        seconds[loaded.spec.circuit] = time.perf_counter() - start
        forwards[loaded.spec.circuit] = bench.runner.forwards
        compiled += bench.runner.compiled
    return Claims(seconds, forwards, compiled)


def candidate(model: SparseModel, folder: Path) -> SparseModel:
    """The model with its weights in bfloat16, and a reference of its own."""
    module = copy.deepcopy(model.module)
    for weight in module.parameters():
        weight.data = weight.data.bfloat16().float()
    save_model(folder, module=module, tokenizer=model.tokenizer, card="# In bfloat16\n")
    written = load_sparse_model(folder)
    text = read_reference_text(model.path)
    save_reference(written, measure(written, text))
    return written


@torch.inference_mode()
def forwards_seconds(
    specs: list[LoadedSpec], model: SparseModel, forwards: dict[str, int]
) -> float:
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
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    specs = [load_spec(path) for path in sorted(arguments.circuits.glob("*.circuit.yaml"))]
    model = load_sparse_model(specs[0].model_path)
    ratios = []
    for _ in range(arguments.repeats):
        claims = run_claims(specs, model)
        alone = forwards_seconds(specs, model, claims.forwards)
        ratios.append(claims.total / alone)
        print(f"claims {claims.total:.1f} s, forwards alone {alone:.1f} s", flush=True)
    print(f"circuits: {len(specs)}")
    print(f"prompt_forwards: {sum(claims.forwards.values())}")
    print(f"compiled_prompts: {claims.compiled}")
    slowest = max(claims.seconds, key=claims.seconds.__getitem__)
    print(f"slowest_circuit_seconds: {claims.seconds[slowest]:.1f} ({slowest})", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        updated = candidate(model, Path(folder))
        for name, baseline in (("candidate", None), ("candidate_against_model", model)):
            ratio = run_claims(specs, updated, baseline).total / claims.total
            print(f"{name}_over_alone: {ratio:.2f}", flush=True)
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
