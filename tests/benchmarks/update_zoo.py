"""The release gate and a zoo of updates: which of them pass, and which should.

For every seed a small model is trained (one core, two minutes), which learns the prompts of three
behaviors with a price on what their answers hang on, as the bundled one does. Their circuits are
found, baselines are recorded, and `examples/release_gate/make_zoo.py` makes the zoo, of which
`continued` goes on with that price and the rest is trained on text alone. Then
`pytest --circuits --circuits-model MEMBER` runs for every member twice: against the recorded
baseline files, and against the baseline model.

    harmless_tried, false_alarms     updates that both runs should pass, and those that one did not
    harmful_tried, missed            updates that neither run may pass, and those that one did
    baseline_disagreements           verdicts of claims that differ between the two runs

The other seed in the zoo of a seed is the model of the next one, and for the last that of the
first. The circuits are found with stricter bars than the specifications then declare (`ROOM`), and
list no edges, so that every weight between their nodes counts: what is released again and again
needs room for updates.

Run: python tests/benchmarks/update_zoo.py [--seeds 1] [--first 0] [--jobs 2] [--keep DIR]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "models"))

import tinypython_text as families

ROOT = Path(__file__).resolve().parents[2]
MAKE_ZOO = ROOT / "examples" / "release_gate" / "make_zoo.py"
RECIPE = """\
seed: {seed}
steps: 1500
data:
  tokenizer: {{vocab_size: 512}}
  sources: [{{jsonl: {{path: ../text.jsonl}}}}]
shape: {{n_layer: 2, d_model: 96, d_head: 16, d_mlp: 384, max_tokens: 32}}
sparsity: {{density: 0.03, embedding_density: 0.1}}
optimizer: {{lr: 0.03, eps: 0.1, normalise: rms, sharkfin: true}}
pairs: {{behaviors: [drafts/*.circuit.yaml], cue_price: 0.015, text_price: 0.003}}
"""
DOCUMENTS, LINES = 600, 100
FAMILIES = (
    *(families.quoted_call,) * 4,
    *(families.quoted_assignment,) * 2,
    *(families.flat_list, families.dict_literal, families.list_of_strings) * 2,
    *(families.for_loop, families.while_loop) * 2,
    families.assignment,
)
BEHAVIORS = ("bracket_brace", "for_while", "single_double_quote")  # prompts of the bundled circuits
ROOM = {  # what the circuits are found with, and what the specifications declare
    "max_loss: 0.06": "max_loss: 0.25",
    "max_rate: 0.65": "max_rate: 0.75",
    "max_gap: 0.25": "max_gap: 0.4",
    "max_drop: 0.02": "max_drop: 0.05",  # of 48 prompts, which 0.02 would let none go
    "protocol: {controls": "protocol: {margin: 1.5, controls",  # nats, and not a share
}


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of the gate says."""

    verdict: str
    claims: dict[str, str]  # verdicts, by circuit and claim

    @property
    def red(self) -> str:
        """The claims that do not pass, and of how many circuits."""
        names = (name for name, verdict in self.claims.items() if verdict != "pass")
        counts = Counter(name.partition("::")[2] for name in names)
        return ", ".join(f"{claim} {count}" for claim, count in counts.items())


@dataclass(frozen=True, slots=True)
class Trial:
    """One member of the zoo of one seed."""

    seed: int
    row: dict[str, Any]  # of zoo.yaml
    file: Run
    model: Run

    @property
    def passed(self) -> tuple[bool, bool]:
        """Whether it passes against the baseline files, and against the baseline model."""
        return self.file.verdict == "pass", self.model.verdict == "pass"

    @property
    def disagreements(self) -> list[str]:
        """Claims about which the two runs have different verdicts."""
        return [
            name for name, verdict in self.file.claims.items() if verdict != self.model.claims[name]
        ]


def write_text(path: Path) -> None:
    """The text that all seeds learn from, and so one tokenizer for all."""
    documents = []
    for index in range(DOCUMENTS):
        draw = np.random.Generator(np.random.Philox(key=[0, index]))
        lines = [FAMILIES[int(draw.integers(len(FAMILIES)))](draw) for _ in range(LINES)]
        documents.append(json.dumps({"text": "\n".join([*lines, ""])}))
    path.write_text("\n".join([*documents, ""]), encoding="utf-8")


def command(folder: Path, *arguments: str) -> None:
    """Run a Python command in a folder, on one thread; its output is shown if it fails."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")


def train(seed: int, keep: Path) -> None:
    """The base of a seed, and its circuits with their recorded baselines."""
    folder = keep / str(seed)
    folder.mkdir(exist_ok=True)
    (folder / "train.yaml").write_text(RECIPE.format(seed=seed), encoding="utf-8")
    tool = partial(command, folder, "-m", "pytest_circuits")
    drafts, unfinished = folder / "drafts", folder / "unfinished"
    drafts.mkdir(exist_ok=True)
    for name in BEHAVIORS:
        bundled = ROOT / "circuits" / f"{name}.circuit.yaml"
        (drafts / bundled.name).write_text(draft(bundled), encoding="utf-8")
    if not (folder / "base").exists():
        tool("train", "train.yaml", "--out", "base", "--resume")
    if not (folder / "specs").exists():
        shutil.copytree(drafts, unfinished, dirs_exist_ok=True)
        paths = sorted(unfinished.iterdir())
        tool("prune", "--no-controls", "--no-edges", *map(str, paths))
        for path in paths:
            path.write_text(with_room(path.read_text(encoding="utf-8")), encoding="utf-8")
        gate = ("--circuits", "--circuits-update=new", "-p", "no:cacheprovider", "--rootdir", ".")
        command(folder, "-m", "pytest", *gate, "unfinished")
        unfinished.rename(folder / "specs")


def draft(bundled: Path) -> str:
    """The behavior and claims of a bundled specification, for the model of this folder."""
    text = bundled.read_text(encoding="utf-8")
    for key in ("nodes", "edges", "found_by", "undeclared"):
        text = re.sub(rf"^{key}:\n(  .*\n)+", "", text, flags=re.MULTILINE)
    for claim in ("minimal", "specific", "blind", "depends_on"):
        text = re.sub(rf"^  {claim}: .*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^model: .*", "model: ../base", text, flags=re.MULTILINE)
    for bar in ("max_loss", "max_rate"):
        strict = next(key for key in ROOM if key.startswith(bar))
        text = re.sub(rf"{bar}: [0-9.]+", strict, text)
    return text


def with_room(found: str) -> str:
    """A specification whose claims leave room for updates."""
    for strict, declared in ROOM.items():
        found = found.replace(strict, declared)
    return found


def make_zoo(seed: int, keep: Path, *, other: int) -> None:
    """The zoo of a seed."""
    folder = keep / str(seed)
    if not (folder / "zoo" / "zoo.yaml").exists():
        shutil.rmtree(folder / "zoo", ignore_errors=True)  # of a run that was stopped
        specs = sorted(map(str, folder.glob("specs/*.circuit.yaml")))
        options = ["--recipe", "train.yaml", "--seed-model", f"../{other}/base", "--out", "zoo"]
        command(folder, str(MAKE_ZOO), "base", *specs, *options)


def gate(folder: Path, member: str, *options: str) -> Run:
    """Run the gate on a member of a zoo, in this process."""
    report = folder / "report.json"
    report.unlink(missing_ok=True)
    arguments = ["--circuits", "--circuits-model", str(folder / "zoo" / member), *options]
    arguments += ["--circuits-report", str(report), "--rootdir", str(folder)]
    with contextlib.redirect_stdout(io.StringIO()) as told:
        pytest.main([*arguments, "-p", "no:cacheprovider", str(folder / "specs")])
    if not report.is_file():
        sys.exit(f"the gate wrote no report:\n{told.getvalue()}")
    found = json.loads(report.read_text(encoding="utf-8"))
    return Run(
        found["verdict"],
        {
            f"{circuit['name']}::{claim['claim']}": claim["verdict"]
            for circuit in found["circuits"]
            for claim in circuit["claims"]
        },
    )


def trials(seed: int, keep: Path) -> Iterator[Trial]:
    """The gate on every member of the zoo of a seed."""
    folder = keep / str(seed)
    for row in yaml.safe_load((folder / "zoo" / "zoo.yaml").read_text(encoding="utf-8")):
        against_model = gate(folder, row["name"], "--circuits-baseline", str(folder / "base"))
        yield Trial(seed, row, gate(folder, row["name"]), against_model)


def show(trial: Trial) -> None:
    """One line of the table."""
    score = min(trial.row["accuracy"].values())
    cells = [str(trial.seed), f"`{trial.row['name']}`", f"{score:.1%}", trial.row["gate"]]
    cells += [trial.file.verdict, trial.model.verdict, trial.file.red]
    print(f"| {' | '.join(cells)} |", flush=True)
    for claim in trial.disagreements:
        verdicts = f"{trial.file.claims[claim]}, against the model {trial.model.claims[claim]}"
        print(f"disagreement: {claim}: against the file {verdicts}", flush=True)


def figures(done: Sequence[Trial]) -> dict[str, int]:
    """The figures by their names."""
    counted = [trial for trial in done if trial.row["counted"]]
    harmless = [trial for trial in counted if trial.row["gate"] == "pass"]
    harmful = [trial for trial in counted if trial.row["gate"] == "no pass"]
    return {
        "harmless_tried": len(harmless),
        "false_alarms": sum(not all(trial.passed) for trial in harmless),
        "harmful_tried": len(harmful),
        "missed": sum(any(trial.passed) for trial in harmful),
        "baseline_disagreements": sum(len(trial.disagreements) for trial in done),
    }


def measure(keep: Path, *, first: int, seeds: int, jobs: int) -> None:
    """Make what is not there yet, and print table and figures."""
    if not (keep / "text.jsonl").exists():
        write_text(keep / "text.jsonl")
    tried = range(first, first + seeds)
    bases = range(first, first + max(seeds, 2))
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(partial(train, keep=keep), bases))
        made = (
            pool.submit(make_zoo, seed, keep, other=first + (seed + 1 - first) % len(bases))
            for seed in tried
        )
        for one in list(made):
            one.result()
    print("| seed | update | score | expected | against files | against model | not passed |")
    print("|---|---|---|---|---|---|---|", flush=True)
    done = []
    for seed in tried:
        for trial in trials(seed, keep):
            show(trial)
            done.append(trial)
    for name, value in figures(done).items():
        print(f"{name}: {value}")


def main() -> None:
    """Print the table and the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where models are kept and reused")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        keep = (options.keep or Path(temporary)).resolve()
        keep.mkdir(parents=True, exist_ok=True)
        measure(keep, first=options.first, seeds=options.seeds, jobs=options.jobs)


if __name__ == "__main__":
    main()
