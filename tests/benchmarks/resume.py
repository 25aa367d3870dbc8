"""Training that is killed and resumed: how often it ends with the very same weights.

A tiny model is trained twice without interruption; both runs must agree. Then every try starts the
same run in a folder of its own, ends it with SIGKILL, starts it again with `--resume`, and compares
the sha256 of the weights. The moments are aimed in turn:

    any      uniform over the whole run, also while Python is still importing
    saving   after a temporary checkpoint was seen; half of the tries
    work     uniform over the time since the run folder appeared
    end      after a temporary folder of the finished model was seen

Every third try is killed once more while it is resumed. A resumed run that is left alone and does
not end with exit status 0 counts as not identical, and its last lines are shown. A run that ends
before its moment has come is no try: another moment is drawn.

Run: python tests/benchmarks/resume.py [--tries 50] [--seed 0] [--jobs 2] [--keep-files DIR]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """\
steps: 200
batch: 8
data: {tokenizer: {vocab_size: 400}, held_out: 16, sources: [{library: {modules: 20}}]}
shape: {n_layer: 2, d_model: 32, d_head: 8, d_mlp: 64, max_tokens: 32}
sparsity: {density: 0.1}
checkpoints: {every: 20, keep: 2}
"""
CHECKPOINTS = 10  # of one run
AIMS = ("any", "saving", "work", "saving", "end", "saving")
OUT = "tiny"
POLL = 0.0005  # seconds; a checkpoint takes some milliseconds
SAVING = 0.02  # seconds after a temporary was seen within which the process is killed


@dataclass(slots=True)
class Run:
    """One process that trains in a folder."""

    folder: Path
    process: subprocess.Popen[bytes]
    started: float = field(default_factory=time.monotonic)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def sleep_until(self, moment: float) -> None:
        """Wait for a moment after the start, or for the end of the process."""
        while self.process.poll() is None and self.elapsed < moment:
            time.sleep(min(0.01, max(moment - self.elapsed, 0)))

    def watch(self, pattern: str, *, count: int = 1) -> float:
        """Wait until that many names have been seen; the seconds since the start by then."""
        seen: set[str] = set()
        while self.process.poll() is None and len(seen) < count:
            seen |= {path.name for path in self.folder.glob(pattern)}
            time.sleep(POLL)
        return self.elapsed

    def kill(self) -> bool:
        """End it with SIGKILL; False if it had ended by itself."""
        self.process.kill()
        return self.process.wait() < 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What every try needs to know."""

    config: Path
    folder: Path
    seed: int
    seconds: float = 0.0  # of an uninterrupted run
    weights: str = ""  # their sha256 at its end


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one try."""

    text: str
    identical: bool
    while_saving: bool


def start(plan: Plan, folder: Path, *, resume: bool) -> Run:
    """Start the training command."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "pytest_circuits", "train", str(plan.config), "--out", OUT]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [*command, "--resume"] if resume else command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    return Run(folder, process)


def digest(folder: Path) -> str:
    """The sha256 of the weights."""
    return hashlib.sha256((folder / OUT / "model.safetensors").read_bytes()).hexdigest()


def uninterrupted(plan: Plan, index: int) -> tuple[float, str]:
    """Seconds of a run that nobody disturbs, and the digest of what it makes."""
    folder = plan.folder / f"uninterrupted-{index}"
    folder.mkdir()
    run = start(plan, folder, resume=False)
    if run.process.wait() != 0:
        sys.exit(f"an uninterrupted run failed:\n{(folder / 'log').read_text()}")
    return run.elapsed, digest(folder)


def wait_for_moment(run: Run, aim: str, plan: Plan, chosen: random.Random) -> None:
    """Return when the process is to be killed."""
    share = chosen.random()
    if aim == "any":
        run.sleep_until(share * plan.seconds)
    elif aim == "work":
        begun = run.watch(f"{OUT}.training")
        run.sleep_until(begun + share * max(plan.seconds - begun, 0))
    elif aim == "saving":
        temporaries = f"{OUT}.training/.checkpoint-*.tmp"
        seen = run.watch(temporaries, count=chosen.randint(1, CHECKPOINTS))
        run.sleep_until(seen + share * SAVING)
    else:
        seen = run.watch(f".{OUT}.*")
        run.sleep_until(seen + share * 0.1 * plan.seconds)


def killed(plan: Plan, index: int, chosen: random.Random) -> tuple[Path, str]:
    """A folder in which a run was killed, and a word on when."""
    aim = AIMS[index % len(AIMS)]
    for draw in range(100):
        folder = plan.folder / f"try-{index}-{draw}"
        folder.mkdir()
        run = start(plan, folder, resume=False)
        wait_for_moment(run, aim, plan, chosen)
        moment = run.elapsed
        if run.kill():
            return folder, f"{aim}, killed after {moment:.2f} s"
        if run.process.returncode != 0:
            sys.exit(f"a run failed by itself:\n{(folder / 'log').read_text()}")
        if draw >= 2 and aim == "end":
            aim = "any"  # the end is too short to be seen
    sys.exit(f"no run lasted until it was to be killed (aim: {aim})")


def attempt(index: int, plan: Plan) -> Outcome:
    """Kill a run, resume it, and compare."""
    chosen = random.Random(f"{plan.seed}:{index}")  # noqa: S311
    folder, text = killed(plan, index, chosen)
    while_saving = any(folder.glob(f"{OUT}.training/.checkpoint-*"))
    if index % 3 == 0:
        again = start(plan, folder, resume=True)
        again.sleep_until(chosen.random() * plan.seconds)
        moment = again.elapsed
        text += f" and {moment:.2f} s" if again.kill() else ", resumed twice"
    last = start(plan, folder, resume=True)
    if last.process.wait() != 0:
        lines = "\n".join((folder / "log").read_text().splitlines()[-15:])
        status = last.process.returncode
        text += f": resuming ended with {status}:\n{lines}"
        return Outcome(text, identical=False, while_saving=while_saving)
    identical = digest(folder) == plan.weights
    text += ": identical" if identical else ": DIFFERENT"
    return Outcome(text, identical=identical, while_saving=while_saving)


def measure(tries: int, *, seed: int, jobs: int, folder: Path) -> bool:
    """Print the figures; whether all is identical."""
    config = folder / "tiny.train.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    plan = Plan(config, folder, seed)
    with ThreadPoolExecutor(jobs) as pool:
        both = list(pool.map(partial(uninterrupted, plan), range(2)))
        seconds, weights = sum(took for took, _ in both) / 2, both[0][1]
        if both[1][1] != weights:
            sys.exit("two uninterrupted runs differ: nothing can be said about resumed ones")
        print(f"uninterrupted: {seconds:.1f} s, weights {weights[:16]}", flush=True)
        plan = Plan(config, folder, seed, seconds=seconds, weights=weights)
        outcomes = []
        for index, outcome in enumerate(pool.map(partial(attempt, plan=plan), range(tries))):
            print(f"{index:3d}  {outcome.text}", flush=True)
            outcomes.append(outcome)
    identical = sum(outcome.identical for outcome in outcomes)
    print(f"killed_while_saving: {sum(outcome.while_saving for outcome in outcomes)}")
    print(f"resumes_tried: {len(outcomes)}")
    print(f"resumes_identical: {identical}")
    return identical == tries


def main() -> None:
    """Print the figures; exit status 1 if a resumed run is not identical."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep-files", type=Path, metavar="DIR", help="a new folder for the runs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.keep_files or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        good = measure(options.tries, seed=options.seed, jobs=options.jobs, folder=folder)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
