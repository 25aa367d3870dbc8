"""The pruner: does it find the true circuit, how small are its circuits, how long does it take?

- Known-answer models (tests/known_models): weights set by hand, another model for every seed; a
  circuit counts as recovered when its nodes are the true ones, none more and none less. Every
  method is asked for the same: a circuit that is sufficient and necessary under mean and contrast
  and holds whatever of the rest is ablated.
- One behavior of the bundled model: from nothing to nodes and edges (`prune_seconds`), beside as
  many plain forward and backward passes as the mask search has steps, each of the circuit's and the
  complement's prompts (`prune_over_passes`); controls are no part of either.
- Many seeds in one batch against one after the other (`batched_speedup`), on a known-answer model
  and on the bundled one; and compiled circuits against the ablated model (`compiled_speedup`).
- The other methods on the same behaviors, with the same bar: size, time and what is left without
  the circuit.
- Nodes and edges of the specifications in `circuits/`, beside what the same masks found for
  shuffled labels and in a model with shuffled weights, as their `found_by` says.

Run: python tests/benchmarks/prune.py [--known 20] [--methods NAME ...] [--seeds 32]
     [--behaviors NAME ...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pytest_circuits.circuit.edges import count_edges, edges_of
from pytest_circuits.circuit.encoding import Batch, Encoder
from pytest_circuits.circuit.interventions import run_circuits
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.view import View, cut_weights, keep_masks
from pytest_circuits.compile.compiled import compile_circuit
from pytest_circuits.model.reference import Reference
from pytest_circuits.model.reference_file import load_reference
from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.model.sparse.directory import load_sparse_model
from pytest_circuits.prompts.space import PromptSpace
from pytest_circuits.prune.masks import Masks, Search, learn
from pytest_circuits.prune.plan import MaskPlan, Method, PrunePlan
from pytest_circuits.prune.search import Found, find_circuits
from pytest_circuits.prune.subject import NotFoundError, Subject
from pytest_circuits.spec.ablations import Given
from pytest_circuits.spec.load import load_spec, parse_spec
from tests.known_models import KINDS, KnownAnswer, quote_copier
from tests.known_models.workshop import BOTH, FAITHFUL, answer_spec

ROOT = Path(__file__).resolve().parents[2]
PLAN = PrunePlan(controls=False)
QUOTE = "single_double_quote"
SEED_STEPS = 20  # of each search when batched and single searches are compared
COMPILED_PROMPTS = 1000
CONTROLS = ("labels", "weights")


def known_subject(answer: KnownAnswer, folder: Path, plan: PrunePlan) -> tuple[Subject, Reference]:
    """A known-answer model, ready to be searched for what holds whatever is assumed."""
    model = load_sparse_model(answer.write(folder))
    reference = load_reference(model)
    text = answer_spec(answer, {}, ablation=BOTH, more=FAITHFUL)
    spec = parse_spec(text, path=folder / "known.circuit.yaml").spec
    return Subject.of(spec, model, reference, plan), reference


def bundled_subject(
    name: str, model: SparseModel, reference: Reference, plan: PrunePlan
) -> Subject:
    """A behavior of the bundled model, ready to be searched."""
    spec = load_spec(ROOT / "circuits" / f"{name}.circuit.yaml").spec
    return Subject.of(spec, model, reference, plan)


def recovered(name: str, method: Method, seed: int) -> tuple[str | None, float]:
    """What is found in one model instead of the true nodes, None where they are, and seconds."""
    torch.set_num_threads(1)
    plan = replace(PLAN, edges=False, method=method)
    answer = next(kind for kind in KINDS if kind.__name__ == name)(seed)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        subject, reference = known_subject(answer, Path(folder) / "model", plan)
        (found,) = find_circuits([subject], reference, plan)
    seconds = time.perf_counter() - start
    if isinstance(found, NotFoundError):
        return str(found), seconds
    wrong = found.nodes != Nodes.of(answer.nodes)
    return ", ".join(found.nodes.ids()) if wrong else None, seconds


def known_answers(seeds: int, methods: Sequence[Method]) -> dict[Method, int]:
    """In how many models of all kinds each method finds the true nodes; a search on each core."""
    right: Counter[Method] = Counter()
    print("| model | method | recovered | seconds |")
    print("|---|---|---|---|", flush=True)
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for method, kind in product(methods, KINDS):
            name = kind.__name__
            every = [pool.submit(recovered, name, method, seed) for seed in range(seeds)]
            found = [each.result() for each in every]
            for seed, (instead, _) in enumerate(found):
                if instead is not None:
                    print(f"{name} {seed}: not recovered by {method}: {instead}", file=sys.stderr)
            count, seconds = sum(instead is None for instead, _ in found), [s for _, s in found]
            right[method] += count
            print(f"| {name} | {method} | {count} of {seeds} | {median(seconds):.0f} |", flush=True)
    return right


def pass_seconds(subject: Subject, plan: MaskPlan) -> float:
    """Plain passes of the model, forward and backward, over the prompts of a whole search."""
    prompts = subject.pool.first(plan.pairs)
    tokens, at = prompts.tokens[0].repeat(2, 1), prompts.last[0].repeat(2)
    embedded = torch.zeros(subject.model.sites["final_resid"].width, requires_grad=True)

    def shift(name: str, x: torch.Tensor) -> torch.Tensor:
        return x + embedded if name == "0.attn.act_in" else x

    start = time.perf_counter()
    for _ in range(20):
        logits = subject.model.run(tokens, shift, at=at)
        F.cross_entropy(logits, tokens[:, -1]).backward()  # type: ignore[no-untyped-call]
    return (time.perf_counter() - start) / 20 * plan.steps


def search_seconds(subject: Subject, seeds: Sequence[int], steps: int = SEED_STEPS) -> float:
    """Time of the searches of some seeds in one batch, wherever the model computes."""
    plan = replace(PLAN.masks, steps=steps)
    masks = Masks(subject.model, [Search(subject.pool, seed) for seed in seeds], plan)
    start = time.perf_counter()
    for step in learn(subject.objective, masks, plan):
        step.loss.tolist()  # on a GPU this waits until the step is done
    return time.perf_counter() - start


def batched_speedup(subject: Subject, seeds: int) -> float:
    """Time of searches one after the other over that of one batch."""
    search_seconds(subject, [0])
    one_by_one = sum(search_seconds(subject, [seed]) for seed in range(seeds))
    return one_by_one / search_seconds(subject, range(seeds))


def compiled_speedup(model: SparseModel, reference: Reference) -> float:
    """Time of the ablated model over that of the compiled circuit, on the same prompts."""
    loaded = load_spec(ROOT / "circuits" / f"{QUOTE}.circuit.yaml")
    nodes = Nodes.of(loaded.spec.nodes)
    pairs = PromptSpace(loaded.spec.behavior).sample(COMPILED_PROMPTS // 2, seed=1)
    prompts = [prompt for pair in pairs for prompt in (pair.first, pair.second)]
    encoder = Encoder(model)
    batches = [
        encoder.batch([prompts[i] for i in indexes], rows=len(indexes))
        for indexes in encoder.groups(prompts, rows=256)
    ]
    edges = edges_of(loaded.spec)
    view = View.circuit(nodes, edges)
    keep, cuts = keep_masks([view], model), cut_weights([view], model)
    start = time.perf_counter()
    circuit = compile_circuit(
        model, nodes, edges, loaded.spec.ablations[0].kind.fill(Given(reference))
    )
    print(f"  compiled in {1000 * (time.perf_counter() - start):.0f} ms")
    times = []
    runs: list[Callable[[Batch], torch.Tensor]] = [
        lambda batch: run_circuits(
            model, batch.tokens, at=batch.last, keep=keep, fill=reference.mean, cuts=cuts
        ),
        lambda batch: circuit.preferences(batch.tokens, batch.last, batch.choices),
    ]
    with torch.inference_mode():
        for run in runs:
            run(batches[0])
            start = time.perf_counter()
            for batch in batches:
                run(batch)
            times.append(time.perf_counter() - start)
    return times[0] / times[1]


def sizes() -> dict[str, tuple[int, int]]:
    """Nodes and edges of the bundled specifications that have a circuit, beside their controls."""
    model: SparseModel | None = None
    found = {}
    for path in sorted((ROOT / "circuits").glob("*.circuit.yaml")):
        loaded = load_spec(path)
        if loaded.spec.nodes:
            model = model or load_sparse_model(loaded.model_path)
            nodes = Nodes.of(loaded.spec.nodes)
            edges = count_edges(nodes, model, edges_of(loaded.spec))
            found[loaded.spec.circuit] = nodes.count, edges
            by = loaded.spec.found_by
            controls = (f"{what} {by.get(f'shuffled_{what}_nodes', '-')}" for what in CONTROLS)
            print(
                f"  {loaded.spec.circuit}: {nodes.count} nodes, {edges} edges, task loss "
                f"{by.get('task_loss', '-')}; shuffled {', '.join(controls)}"
            )
    return found


def compare(
    names: Sequence[str], methods: Sequence[Method], model: SparseModel, reference: Reference
) -> dict[str, float]:
    """The methods side by side; returns the seconds of the first one."""
    seconds: dict[str, float] = {}
    print("| behavior | method | nodes | edges | task loss | separation left | seconds |")
    print("|---|---|---|---|---|---|---|")
    for name in names:
        for method in methods:
            plan = replace(PLAN, method=method)
            start = time.perf_counter()
            subject = bundled_subject(name, model, reference, plan)
            (found,) = find_circuits([subject], reference, plan)
            taken = time.perf_counter() - start
            seconds.setdefault(name, taken)
            shown = "none good enough | | | |"
            if isinstance(found, Found):
                edges = 0 if found.edges is None else found.edges.count
                shown = (
                    f"{found.nodes.count} | {edges} | {found.quality.loss:.3f} | "
                    f"{found.quality.worst_separation:.2f} |"
                )
            print(f"| {name} | {method} | {shown} {taken:.0f} |", flush=True)
    return seconds


def main() -> None:
    """Print the tables and the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--known", type=int, default=20, help="models of each kind")
    parser.add_argument("--methods", nargs="+", type=Method, default=[*Method], help="of all")
    parser.add_argument("--seeds", type=int, default=32, help="searches in one batch")
    parser.add_argument("--behaviors", nargs="+", default=[QUOTE])
    asked = parser.parse_args()
    print(f"threads: {torch.get_num_threads()}")
    right = known_answers(asked.known, asked.methods) if asked.known else {}
    model = load_sparse_model(ROOT / "models" / "plainpython")
    reference = load_reference(model)
    seconds = compare(asked.behaviors, asked.methods, model, reference)
    subject = bundled_subject(asked.behaviors[0], model, reference, PLAN)
    passes = pass_seconds(subject, PLAN.masks)
    with tempfile.TemporaryDirectory() as folder:
        small, _ = known_subject(quote_copier(0), Path(folder) / "model", PLAN)
        print(f"batched_speedup_known_answer: {batched_speedup(small, asked.seeds):.2f}")
    found = sizes()
    for method, count in right.items():
        print(f"known_answer_recovered_{method}: {count} of {len(KINDS) * asked.known}")
    print(f"prune_seconds: {median(seconds.values()):.1f}")
    print(f"prune_over_passes: {seconds[asked.behaviors[0]] / passes:.2f}")
    print(f"batched_speedup: {batched_speedup(subject, asked.seeds):.2f}")
    print(f"compiled_speedup: {compiled_speedup(model, reference):.1f}")
    print(f"median_nodes: {median(nodes for nodes, _ in found.values()):g}")
    print(f"quote_nodes: {found[QUOTE][0]}")
    print(f"quote_edges: {found[QUOTE][1]}")


if __name__ == "__main__":
    main()
