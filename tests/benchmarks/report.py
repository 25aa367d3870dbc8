"""What the page of a run costs: how large it is, and how long it takes to make.

`html_kb` is the size of the page of the bundled suite in kB (1000 bytes). `html_seconds` is one
`pytest-circuits report EVIDENCE.json --html FILE` as a whole process, the median of several, and
`html_seconds_200` the same of a run of 200 circuits, which are those of the suite again under other
names. `html_kb_200` is the size of that page.

Without an evidence record the gate is run first, which takes as long as it takes.

Run: python tests/benchmarks/report.py [--evidence FILE] [--repeats 5]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pytest_circuits.report.record import dump, run_from_json, run_to_json
from pytest_circuits.report.run import Run

ROOT = Path(__file__).resolve().parents[2]
MANY = 200  # circuits


def many_of(run: Run) -> Run:
    """A run of `MANY` circuits, made of those of a run."""
    circuits, results = [], []
    for number in range(MANY):
        circuit = run.circuits[number % len(run.circuits)]
        name = f"{circuit.name}_{number:03}"
        circuits.append(replace(circuit, name=name))
        results += [
            replace(result, circuit=name, nodeid=f"{result.nodeid}_{number:03}")
            for result in run.results
            if result.circuit == circuit.name
        ]
    return replace(run, circuits=tuple(circuits), results=tuple(results))


def made(evidence: Path, repeats: int) -> tuple[float, float]:
    """Seconds of a whole command, the median of some, and the size of its page in kB."""
    page, seconds = evidence.with_suffix(".html"), []
    command = [sys.executable, "-m", "pytest_circuits", "report", str(evidence), f"--html={page}"]
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), page.stat().st_size / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--evidence", type=Path, help="a record of the bundled suite")
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        evidence = folder / "evidence.json"
        if asked.evidence is None:
            gate = [sys.executable, "-m", "pytest", "--circuits", "-q", "-p", "no:cacheprovider"]
            subprocess.run([*gate, f"--circuits-report={evidence}"], cwd=ROOT, check=False)
        else:
            evidence.write_bytes(asked.evidence.read_bytes())
        run = run_from_json(evidence.read_bytes(), source=str(asked.evidence or evidence))
        many = folder / "many.json"
        many.write_text(dump(run_to_json(many_of(run))), encoding="utf-8")
        seconds, size = made(evidence, asked.repeats)
        seconds_200, size_200 = made(many, asked.repeats)
    print(f"{len(run.circuits)} circuits, {len(run.results)} claims")
    print(f"html_kb: {size:.1f}")
    print(f"html_seconds: {seconds:.2f}")
    print(f"html_kb_{MANY}: {size_200:.1f}")
    print(f"html_seconds_{MANY}: {seconds_200:.2f}")


if __name__ == "__main__":
    main()
