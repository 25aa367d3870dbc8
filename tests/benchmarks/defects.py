"""Wrong circuits planted beside right ones: which claim catches each, and what is missed.

The right circuits are those of known-answer models, whose weights were set by hand, and those of
the specifications in a folder. For each one wrong circuits are made: none of the nodes, all of
them, random ones of the same shape, all but the most important one, and the circuit of another
behavior. Known-answer models add what cannot be derived from a right circuit: a circuit that zero
ablation finds and the model does not need, half of a redundant pair, a node that only biases the
answer, the right circuit padded with half of the model, a mechanism that has moved, and what only
`faithful` is made for: a path that works because the norm shrinks with the rest, attention that is
bypassed, a node that changes its role, a pair of nodes outside of the circuit that cancel; and what
only `specific` is: the circuits of two behaviors as one; and what only `minimal` is: a node that
the circuit does not need.

A redundant circuit is no source: it can spare any one node, so that the rest is not wrong.

A defect is missed when every claim passes; a false alarm is a right circuit of which one does not.
The baseline is the model itself. Bundled circuits declare the first four claims alone.

Run: python tests/benchmarks/defects.py [--circuits circuits] [--zero SPEC ...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from typing import TYPE_CHECKING

from pytest_circuits.circuit import Nodes, View, all_nodes, random_circuits
from pytest_circuits.claims import CLAIMS, Bench, Verdict, declared, make_bench, run_claim
from pytest_circuits.model import Model, load_model
from pytest_circuits.spec import load_spec
from pytest_circuits.spec.load import parse_spec
from tests.known_models import (
    BIAS_NODE,
    BRACKET_PATH,
    NOWHERE,
    OTHER,
    OUT,
    QUOTE_PATH,
    WEAK_PATH,
    Circuit,
    Weights,
    merged,
    quote_spec,
    write_quote_copier,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
NOT_NEEDED = [ROOT / "examples" / "not_needed" / "else_elif_not_needed.circuit.yaml"]
KNOWN = ("behaves", "sufficient", "necessary", "stable", "faithful", "specific")
ALL = (*KNOWN, "minimal")  # of a circuit without the query, which is constant
SHOWN = {Verdict.PASS: "pass", Verdict.FAIL: "FAIL", Verdict.INCONCLUSIVE: "unsure"}


@dataclass(frozen=True, slots=True)
class Case:
    """A circuit on the bench, and whether it is right."""

    name: str
    bench: Bench
    right: bool
    source: bool = True  # wrong circuits are derived from it, where it is right


def verdicts(bench: Bench) -> dict[str, Verdict]:
    """What each claim says about a circuit."""
    return {claim: run_claim(bench, claim).verdict for claim in declared(bench.spec)}


def with_nodes(bench: Bench, nodes: Nodes) -> Bench:
    """The same behavior with another circuit, on a bench of its own."""
    channels = {hook: list(channels) for hook, channels in nodes.channels}
    spec = bench.spec.model_copy(update={"nodes": channels, "edges": None})
    loaded = replace(bench.loaded, spec=spec)
    return replace(bench, loaded=loaded, nodes=nodes, edges=None, tried={})


def without_most_important(bench: Bench) -> Nodes:
    """A circuit without the node whose loss costs it most."""
    smaller = [bench.nodes.without(hook, channel) for hook, channel in bench.nodes]
    views = [View.circuit(nodes) for nodes in smaller]
    margins = bench.runner.margins_many(bench.control_pairs, views)  # [nodes, n, 2]
    return smaller[int(np.logaddexp(0, -margins).mean(axis=(1, 2)).argmax())]


def derived(right: Case, others: Sequence[Case]) -> Iterator[Case]:
    """Wrong circuits that can be made of any right one."""
    bench = right.bench
    random = random_circuits(bench.nodes, bench.runner.reference, count=2, seed=bench.seed + 1)
    wrong = {
        "empty": Nodes.of({}),
        "all nodes": all_nodes(bench.model),
        "random 1": random[0],
        "random 2": random[1],
        "most important node missing": without_most_important(bench),
    }
    foreign = [c for c in others if c.bench.model is bench.model and c.bench.nodes != bench.nodes]
    if foreign:
        wrong[f"that of {foreign[0].name}"] = foreign[0].bench.nodes
    for name, nodes in wrong.items():
        yield Case(f"{right.name}: {name}", with_nodes(bench, nodes), right=False)


def known_answers(folder: Path) -> list[Case]:
    """Right and wrong circuits of models that were set by hand."""

    def model(name: str, weights: Weights) -> Model:
        return load_model(write_quote_copier(folder / name, weights))

    def case(
        name: str,
        nodes: Circuit,
        in_model: Model,
        *,
        right: bool,
        claims: tuple[str, ...] = KNOWN,
        then: Model | None = None,
        behavior: str = "quote",
        ablation: str = "mean",
    ) -> Case:
        text = quote_spec(nodes, behavior=behavior, ablation=ablation, claims=claims)
        loaded = parse_spec(text, path=folder / "known.circuit.yaml")
        bench = make_bench(loaded, then or in_model, baseline=in_model)
        source = then is None and in_model is not redundant and claims == KNOWN
        return Case(name, bench, right, source=source)

    for behavior in OTHER:
        text = quote_spec({}, name=behavior, behavior=behavior)
        (folder / f"{behavior}.circuit.yaml").write_text(text)
    copier, redundant = model("copier", Weights()), model("redundant", Weights(weak=1.5))
    biased = model("biased", Weights(bias=24.0))
    updated = model("updated", Weights(path=1.4, jitter=0.05))
    moved = model("moved", Weights(path=0.01, weak=1.5))
    strong, cancelling = (
        model("strong", Weights(path=10.0)),
        model("cancelling", Weights(cancel=8.0)),
    )
    two = merged(QUOTE_PATH, BRACKET_PATH)
    needed, bracket = (
        {hook: channels for hook, channels in path.items() if hook != "0.attn.q"}
        for path in (QUOTE_PATH, BRACKET_PATH)
    )
    idle = merged(needed, {"1.mlp.post_act": [30]})
    joined = merged(WEAK_PATH, {"final_resid": [OUT]})
    turned = merged(QUOTE_PATH, {"0.attn.resid_delta": [NOWHERE], "final_resid": [NOWHERE]})
    bypass = {hook: nodes for hook, nodes in QUOTE_PATH.items() if hook[-2:] not in (".q", ".k")}
    half = {hook: range(0, width, 2) for hook, width in copier.hook_points.items()}
    both = merged(QUOTE_PATH, WEAK_PATH)
    return [
        case("known quote", QUOTE_PATH, copier, right=True),
        case("known bracket", BRACKET_PATH, copier, right=True, behavior="bracket"),
        case("known quote, zero ablation", QUOTE_PATH, copier, right=True, ablation="zero"),
        case("known redundant pair", both, redundant, right=True),
        case("known quote, harmless update", QUOTE_PATH, copier, right=True, then=updated),
        case("weak copy, zero ablation", WEAK_PATH, copier, right=False, ablation="zero"),
        case("half of a redundant pair", QUOTE_PATH, redundant, right=False),
        case("a node that only biases", BIAS_NODE, biased, right=False),
        case("padded with half the model", merged(QUOTE_PATH, half), copier, right=False),
        case("mechanism has moved", QUOTE_PATH, copier, right=False, then=moved),
        case("norm cheat: weak copy and a true node", joined, copier, right=False, ablation="zero"),
        case("attention is bypassed", bypass, strong, right=False),
        case("a node changes its role", turned, model("t", Weights(turned=0.5)), right=False),
        case("known quote, minimal", needed, copier, right=True, claims=ALL),
        case("known bracket, minimal", bracket, copier, right=True, behavior="bracket", claims=ALL),
        case("a node that is constant", QUOTE_PATH, copier, right=False, claims=ALL),
        case("a node that is idle", idle, copier, right=False, claims=ALL),
        case("circuits of two behaviors", two, copier, right=False),
        case("ablations cancel", QUOTE_PATH, cancelling, right=False),
    ]


def bundled(folder: Path) -> list[Case]:
    """The circuits of the specifications in a folder."""
    models: dict[Path, Model] = {}
    cases = []
    for path in sorted(folder.glob("*.circuit.yaml")):
        loaded = load_spec(path)
        if not loaded.spec.nodes:  # gated by `behaves` alone: there is no circuit to go wrong
            continue
        if loaded.model_path not in models:
            models[loaded.model_path] = load_model(loaded.model_path)
        model = models[loaded.model_path]
        cases.append(
            Case(loaded.spec.circuit, make_bench(loaded, model, baseline=model), right=True)
        )
    return cases


def zero_found(paths: Sequence[Path]) -> list[Case]:
    """Circuits that were found with zero ablation and that their model does not need."""
    cases = []
    for path in paths:
        loaded = load_spec(path)
        model = load_model(loaded.model_path)
        bench = make_bench(loaded, model, baseline=model)
        cases.append(Case(f"{loaded.spec.circuit}: found with zero ablation", bench, right=False))
    return cases


def show(case: Case, found: Mapping[str, Verdict], *, width: int) -> None:
    """Print one row of the table."""
    row = "".join(f"{SHOWN[found[c]] if c in found else '-':12s}" for c in CLAIMS)
    print(f"{case.name:{width}s}{case.bench.nodes.count:7d}  {row}", flush=True)


def main() -> None:
    """Print the table and the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--circuits", type=Path, default=ROOT / "circuits")
    parser.add_argument("--zero", type=Path, nargs="*", default=NOT_NEEDED)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        planted = known_answers(Path(folder))
        planted += bundled(options.circuits) + zero_found(options.zero)
        right = [case for case in planted if case.right]
        sources = [case for case in right if case.source]
        cases = planted + [wrong for case in sources for wrong in derived(case, right)]
        width = 2 + max(len(case.name) for case in cases)
        print(f"{'circuit':{width}s}{'nodes':>7s}  " + "".join(f"{c:12s}" for c in CLAIMS))
        alarms: list[str] = []
        missed: list[str] = []
        for case in cases:
            found = verdicts(case.bench)
            show(case, found, width=width)
            passes = all(verdict is Verdict.PASS for verdict in found.values())
            if case.right and not passes:
                alarms.append(case.name)
            if not case.right and passes:
                missed.append(case.name)
    for what, names in (("missed", missed), ("false alarm", alarms)):
        for name in names:
            print(f"{what}: {name}")
    print(f"defects_tried: {sum(not case.right for case in cases)}")
    print(f"defects_missed: {len(missed)}")
    print(f"true_circuits_tried: {len(right)}")
    print(f"false_alarms: {len(alarms)}")


if __name__ == "__main__":
    main()
