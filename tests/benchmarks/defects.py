"""The defect matrix: which claim catches which wrong circuit and wrong model, and what is missed.

Its rows are those of `tests/known_models/defects.py`: defects planted by hand in models whose right
circuits are known, and these right circuits themselves. Each is put to all claims under several
seeds; a seed is another noise or another model, and another sample, search and controls. Where
there is a folder of specifications, their circuits count as right under the same seeds, and wrong
ones are derived from each: none of the nodes, all of them, random ones of the same shape, all but
the most important one, and the circuit of another behavior; and circuits that zero ablation found
and that their model does not need.

A defect is missed when every claim passes (of some rows it is known that none can see them), a
false alarm is a right circuit of which one does not.
The model itself is the baseline, but for updates.

Run: python tests/benchmarks/defects.py [--seeds N] [--first SEED] [--circuits circuits]
    [--zero SPEC ...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


from collections.abc import Iterator, Mapping, Sequence

from pytest_circuits.circuit.nodes import Nodes, all_nodes
from pytest_circuits.circuit.random_circuits import random_circuits
from pytest_circuits.circuit.view import View
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.claims.laws import run_claim
from pytest_circuits.claims.registry import CLAIMS, declared
from pytest_circuits.claims.setup import make_bench
from pytest_circuits.model.open import load_model
from pytest_circuits.model.protocol import Model
from pytest_circuits.spec.load import load_spec
from tests.known_models.defects import DEFECTS, TRUE_CIRCUITS
from tests.known_models.workshop import Workshop

ROOT = Path(__file__).resolve().parents[2]
NOT_NEEDED = [ROOT / "examples" / "not_needed" / "else_elif_not_needed.circuit.yaml"]


@dataclass(frozen=True, slots=True)
class Trial:
    """A circuit on the bench, in a row of the matrix."""

    row: str
    bench: Bench
    right: bool
    claim: str = ""  # that is named for the defect


@dataclass(slots=True)
class Tally:
    """What was seen in one row."""

    right: bool
    claim: str
    tried: int = 0
    missed: int = 0  # times that every claim passed
    named: int = 0  # times that the claim named for the row failed; undecided is not enough
    caught: dict[str, int] = field(default_factory=dict)  # by claim, times that it did not pass

    def cells(self) -> list[str]:
        """How often each claim did not pass; nothing where it was not declared."""
        return [str(self.caught[claim]) if claim in self.caught else "" for claim in CLAIMS]


def planted(seeds: range) -> Iterator[Trial]:
    """Every row of known-answer models under every seed."""
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            shop = Workshop(Path(folder), seed)
            for row in (*DEFECTS, *TRUE_CIRCUITS):
                yield Trial(row.name, row.plant(shop), right=row.right, claim=row.claim)


def with_nodes(bench: Bench, nodes: Nodes) -> Bench:
    """The same behavior with another circuit, on a bench of its own."""
    channels = {hook: list(channels) for hook, channels in nodes.channels}
    spec = bench.spec.model_copy(update={"nodes": channels, "edges": None})
    loaded = replace(bench.loaded, spec=spec)
    return replace(bench, loaded=loaded, nodes=nodes, edges=None, tried={}, changed={})


def without_most_important(bench: Bench) -> Nodes:
    """A circuit without the node whose loss costs it most."""
    smaller = [bench.nodes.without(hook, channel) for hook, channel in bench.nodes]
    views = [View.circuit(nodes) for nodes in smaller]
    margins = bench.runner.margins_many(bench.control_pairs, views)  # [nodes, n, 2]
    return smaller[int(np.logaddexp(0, -margins).mean(axis=(1, 2)).argmax())]


def derived(bench: Bench, others: Sequence[Bench]) -> Iterator[Trial]:
    """Wrong circuits that can be made of any right one."""
    random = random_circuits(
        bench.nodes, bench.model, bench.runner.reference, count=2, seed=bench.seed + 1
    )
    wrong = {
        "empty": Nodes.of({}),
        "all nodes": all_nodes(bench.model),
        "random nodes": random[0],
        "other random nodes": random[1],
        "most important node missing": without_most_important(bench),
    }
    foreign = [o for o in others if o.model is bench.model and o.nodes != bench.nodes]
    if foreign:
        wrong["circuit of another"] = foreign[0].nodes
    for name, nodes in wrong.items():
        yield Trial(f"specifications: {name}", with_nodes(bench, nodes), right=False)


def benches(paths: Sequence[Path]) -> list[Bench]:
    """The circuits of specifications, each model loaded once and its own baseline."""
    models: dict[Path, Model] = {}
    found = []
    for path in paths:
        loaded = load_spec(path)
        if not loaded.spec.nodes:  # gated by `behaves` alone: there is no circuit to go wrong
            continue
        if loaded.model_path not in models:
            models[loaded.model_path] = load_model(loaded.model_path)
        model = models[loaded.model_path]
        found.append(make_bench(loaded, model, baseline=model))
    return found


def specified(folder: Path, zero: Sequence[Path], *, seeds: int) -> Iterator[Trial]:
    """The circuits of a folder under every seed, and what is wrong beside them."""
    right = benches(sorted(folder.glob("*.circuit.yaml")))
    for bench in right:
        for seed in range(seeds):
            reseeded = replace(bench, selfcheck=seed, tried={}, changed={})
            yield Trial(f"specification {bench.spec.circuit}", reseeded, right=True)
        yield from derived(bench, right)
    for bench in benches(zero):
        yield Trial("specifications: found with zero ablation", bench, right=False)


def put_to_the_test(trial: Trial, tallies: dict[str, Tally]) -> None:
    """Count which claims do not pass, and say so where it is not what should be."""
    found = {claim: run_claim(trial.bench, claim) for claim in declared(trial.bench.spec)}
    failed = [claim for claim, evidence in found.items() if evidence.verdict is not Verdict.PASS]
    tally = tallies.setdefault(trial.row, Tally(right=trial.right, claim=trial.claim))
    tally.tried += 1
    tally.missed += not failed
    tally.named += bool(trial.claim) and found[trial.claim].verdict is Verdict.FAIL
    for claim in found:
        tally.caught[claim] = tally.caught.get(claim, 0) + (claim in failed)
    place = f"{trial.row} ({trial.bench.spec.circuit}, seed {trial.bench.selfcheck})"
    if trial.right:
        for claim in failed:
            print(f"false alarm: {place}: {claim}: {found[claim].reason}", flush=True)
    elif not failed:
        print(f"missed: {place}", flush=True)
    elif trial.claim and found[trial.claim].verdict is not Verdict.FAIL:
        print(f"not caught by {trial.claim}: {place}: {found[trial.claim].reason}", flush=True)


def show(tallies: Mapping[str, Tally]) -> None:
    """Print the matrix as a table of Markdown; the claim that is named stands in bold."""
    header = ["", "tried", *(f"`{claim}`" for claim in CLAIMS)]
    rows = [header, ["---"] * len(header)]
    for name, tally in tallies.items():
        cells = tally.cells()
        if tally.claim:
            place = list(CLAIMS).index(tally.claim)
            cells[place] = f"**{cells[place]}**"
        rows.append([name, str(tally.tried), *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print(f"| {' | '.join(cells)} |")


def main() -> None:
    """Print the matrix and the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--circuits", type=Path, default=ROOT / "circuits")
    parser.add_argument("--zero", type=Path, nargs="*", default=NOT_NEEDED)
    options = parser.parse_args()
    tallies: dict[str, Tally] = {}
    for trial in planted(range(options.first, options.first + options.seeds)):
        put_to_the_test(trial, tallies)
    for trial in specified(options.circuits, options.zero, seeds=options.seeds):
        put_to_the_test(trial, tallies)
    show(tallies)
    right = [tally for tally in tallies.values() if tally.right]
    wrong = [tally for tally in tallies.values() if not tally.right]
    named = [tally for tally in wrong if tally.claim]
    print(f"defects_tried: {sum(tally.tried for tally in wrong)}")
    print(f"defects_missed: {sum(tally.missed for tally in wrong)}")
    print(f"not_caught_as_named: {sum(tally.tried - tally.named for tally in named)}")
    print(f"true_circuits_tried: {sum(tally.tried for tally in right)}")
    print(f"false_alarms: {sum(tally.tried - tally.missed for tally in right)}")


if __name__ == "__main__":
    main()
