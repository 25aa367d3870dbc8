"""The figures that need a GPU. Each part runs by itself: where one fails, the others still do.

- `steps`: what `train_step.py` prints, `sparse_over_dense` first, at each width.
- `tests`: the tests of the suite that are marked `gpu`.
- `batched`: `batched_speedup`, the time of searches for 32 seeds of masks one after the other over
  that of one batch, on the bundled circuit of closing quotes. Only as many are run alone as fit
  into some seconds; the rest counts as they do in the mean. `peak_gib` is memory of the batch.
- `gate`: `pytest --circuits` on the device and on the CPU, side by side. `gate_verdicts_apart` is
  how many claims have another verdict, of `gate_claims`; each is printed, and what is measured
  otherwise besides. `gate_seconds` are those of the whole processes, `gate_claim_seconds` those in
  claims, summed over workers, and `gate_device_over_cpu` is the ratio of these.

The package need not be installed. `--quick` is a trial of a minute: little of everything.

Run: python tests/benchmarks/gpu.py [--only PART ...] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from argparse import Namespace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pytest_circuits.model.reference_file import load_reference
from pytest_circuits.model.sparse.directory import load_sparse_model
from pytest_circuits.spec.load import load_spec
from tests.benchmarks.prune import PLAN, QUOTE, SEED_STEPS, bundled_subject, search_seconds

ROOT = Path(__file__).resolve().parents[2]
ALONE_SECONDS = 25.0  # for searches one after the other
APART = 0.01  # of a measure, or beyond it: what is nearer is not printed

Claims = dict[str, dict[str, Any]]  # of a record, by their address


def started(*arguments: str, log: Path) -> subprocess.Popen[bytes]:
    """A Python process in the root of the repository, with one thread; its words go to a file."""
    given = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    env = os.environ | given | {"HYPOTHESIS_STORAGE_DIRECTORY": f"{log}.examples"}
    with log.open("wb") as out:
        return subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, env=env, stdout=out, stderr=subprocess.STDOUT
        )


def ended(process: subprocess.Popen[bytes], log: Path, *, seconds: float, last: int = 0) -> int:
    """The exit status of a process, after what it said: all, or the last characters of it."""
    try:
        return process.wait(seconds)
    finally:
        process.kill()
        print(log.read_text("utf-8", errors="replace")[-last:].strip(), flush=True)


def pytest_call(*arguments: str) -> list[str]:
    """How pytest is called where the plugin may not be installed."""
    installed = entry_points(group="pytest11", name="circuits")
    named = () if installed else ("-p", "pytest_circuits.plugin")
    return ["-m", "pytest", *named, "-p", "no:cacheprovider", "-W", "default", *arguments]


def steps(asked: Namespace, folder: Path) -> None:
    """The training step at each width."""
    script, rounds = str(ROOT / "tests/benchmarks/train_step.py"), "1" if asked.quick else "9"
    statuses = []
    for width in ("256",) if asked.quick else ("256", "1024", "2048"):
        print(f"width: {width}", flush=True)
        sizes = ("--width", width, "--rounds", rounds, "--device", asked.device)
        log = folder / width
        statuses.append(ended(started(script, *sizes, log=log), log, seconds=60))
    if any(statuses):
        raise RuntimeError(f"exit statuses {statuses}")


def tests(_: Namespace, folder: Path) -> None:
    """The tests that need a GPU, of the modules that have some."""
    files = [p for p in (ROOT / "tests").rglob("test_*.py") if "mark.gpu" in p.read_text("utf-8")]
    call, log = pytest_call("-q", "-m", "gpu", *map(str, sorted(files))), folder / "tests"
    if status := ended(started(*call, log=log), log, seconds=120):
        raise RuntimeError(f"pytest ended with {status}")


def batched(asked: Namespace, _: Path) -> None:
    """Searches in one batch against one by one."""
    seeds, count = (2, 1) if asked.quick else (32, SEED_STEPS)
    model = load_sparse_model(
        load_spec(ROOT / "circuits" / f"{QUOTE}.circuit.yaml").model_path, device=asked.device
    )
    subject = bundled_subject(QUOTE, model, load_reference(model), PLAN)
    first, alone = search_seconds(subject, [0], count), list[float]()  # the first one warms up
    while len(alone) < seeds and sum(alone) < ALONE_SECONDS:
        alone.append(search_seconds(subject, [len(alone)], count))
    mean = sum(alone) / len(alone)
    print(f"search_seconds: {mean:.2f} (mean of {len(alone)}; {first:.2f} the first)", flush=True)
    batch = search_seconds(subject, range(seeds), count)
    print(f"batch_seconds: {batch:.2f} ({seeds} seeds, {count} steps)")
    print(f"batched_speedup: {seeds * mean / batch:.2f}")
    if asked.device != "cpu":
        print(f"peak_gib: {torch.cuda.max_memory_allocated() / 2**30:.1f}")


def gate(asked: Namespace, folder: Path) -> None:
    """The same verdicts on both devices?"""
    paths = [f"circuits/{name}.circuit.yaml" for name in asked.circuits_names]
    running, seconds, begun = {}, dict[str, float](), time.perf_counter()
    for device, workers in {"cpu": asked.workers, asked.device: asked.device_workers}.items():
        record = folder / f"{device}.json"
        options = (f"--circuits-device={device}", f"--circuits-report={record}", *paths)
        call = pytest_call("--circuits", "-n", str(workers), "--durations=5", *options)
        running[device] = started(*call, log=folder / device)
    while len(seconds) < len(running) and time.perf_counter() - begun < asked.gate_seconds:
        time.sleep(0.2)
        over = (each for each, process in running.items() if process.poll() is not None)
        seconds = {each: time.perf_counter() - begun for each in over} | seconds
    for device, process in running.items():
        process.kill()
        ended(process, folder / device, seconds=9, last=2500)
        whole = seconds.get(device, asked.gate_seconds)
        print(f"gate_seconds: {whole:.1f} ({device}, exit status {process.returncode})")
    spent, claims = [], []
    for device in running:
        told = json.loads((folder / f"{device}.json").read_text("utf-8"))
        spent.append(sum(told["run"]["seconds_by_claim"].values()))
        claims.append({c["nodeid"]: c for each in told["circuits"] for c in each["claims"]})
        print(f"gate_claim_seconds: {spent[-1]:.1f} ({device})", flush=True)
    print(f"gate_device_over_cpu: {spent[-1] / spent[0]:.2f}")
    apart = compared(claims[-1], claims[0])
    print(f"gate_verdicts_apart: {apart}")
    if apart:
        raise RuntimeError(f"{apart} claims have another verdict on {asked.device}")


def compared(here: Claims, there: Claims) -> int:
    """Print what is otherwise on the CPU; how many verdicts are."""
    apart = exact = 0
    for name in sorted({*here, *there}):
        both = [each.get(name, {}) for each in (here, there)]
        verdicts, measures = ([each.get(k) for each in both] for k in ("verdict", "measures"))
        if verdicts[0] != verdicts[1]:
            apart += 1
            print(f"  {name}: {verdicts[0]}, on the CPU {verdicts[1]}")
            print(f"    {both[0].get('reason')}\n    {both[1].get('reason')}")
        exact += measures[0] == measures[1]
        for key in sorted({*(measures[0] or ()), *(measures[1] or ())}):
            a, b = ((each or {}).get(key) for each in measures)
            if a != b and (a is None or b is None or abs(a - b) > APART * (1 + abs(b))):
                print(f"  {name}: {key} {a}, on the CPU {b}")
    print(f"gate_claims: {len({*here, *there})} ({exact} with the same measures to the last bit)")
    return apart


PARTS = {"steps": steps, "tests": tests, "batched": batched, "gate": gate}


def main() -> int:
    """Measure every part that is asked for; 1 where one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=[*PARTS])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--circuits-names", nargs="+", default=[], help="of the gate; else all")
    parser.add_argument("--workers", type=int, default=7, help="of the gate on the CPU")
    parser.add_argument("--device-workers", type=int, default=0, help="of the one on the device")
    parser.add_argument("--gate-seconds", type=float, default=240.0, help="it may take at most")
    parser.add_argument("--quick", action="store_true", help="a trial of little of everything")
    asked = parser.parse_args()
    if asked.quick and not asked.circuits_names:
        asked.circuits_names = ["bracket_brace"]
    gpu = "no GPU" if asked.device == "cpu" else torch.cuda.get_device_name(asked.device)
    print(f"torch {torch.__version__}, {gpu}", flush=True)
    failed = 0
    for part in asked.only:
        begun = time.perf_counter()
        print(f"--- {part}", flush=True)
        try:
            with tempfile.TemporaryDirectory() as folder:
                PARTS[part](asked, Path(folder))
        except Exception:  # noqa: BLE001  (whatever it is, the others run)
            failed = 1
            traceback.print_exc(file=sys.stdout)
        print(f"--- {part}: {time.perf_counter() - begun:.0f} s", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
