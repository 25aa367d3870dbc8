"""The known-answer models: their circuits are the answer, and the only one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.runner import Runner
from pytest_circuits.circuit.view import WHOLE
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.evidence import Verdict
from pytest_circuits.claims.laws import run_claim
from pytest_circuits.claims.registry import declared
from pytest_circuits.claims.setup import make_bench
from pytest_circuits.model.open import load_model
from pytest_circuits.model.reference_file import load_reference
from pytest_circuits.prompts.space import Pair, PromptSpace
from pytest_circuits.prompts.tokens import check_prompts
from pytest_circuits.prune.judge import Judge
from pytest_circuits.prune.quality import Bar
from pytest_circuits.spec.ablations import Ablation
from pytest_circuits.spec.load import parse_spec
from tests.known_models import KINDS, KnownAnswer, bracket_counter, quote_copier, redundant_quote

# What `prune` asks for by default, written out: the models stay what they are when it changes.
BAR = Bar(max_loss=0.09, min_rate=0.985, max_left=0.575, max_separation=0.6)
CASES = [
    pytest.param(kind, seed, id=f"{kind.__name__}-{seed}") for kind in KINDS for seed in (0, 7)
]
SERIES = [quote_copier, bracket_counter]  # short enough to try every subset
# As little evidence as the thresholds and the largest of the circuits can do with.
QUICK = "{pairs: 300, search: 10, controls: 59}"
Node = tuple[str, int]


class Trial:
    """A known answer on disk, and circuits of it on a few prompts."""

    def __init__(self, answer: KnownAnswer, folder: Path) -> None:
        self.answer = answer
        self.loaded = parse_spec(
            replace(answer, protocol=QUICK).spec_with(answer.nodes),
            path=folder / "known.circuit.yaml",
        )
        self.model = load_model(answer.write(folder / "model"))
        self.reference = load_reference(self.model)
        self.runner = Runner(self.model, self.reference, Ablation.MEAN)
        self.nodes = Nodes.of(answer.nodes)

    def pairs(self, count: int) -> tuple[Pair, ...]:
        return PromptSpace(self.loaded.spec.behavior).sample(count, seed=11)

    def judge(self, pairs: Sequence[Pair]) -> Judge:
        return Judge(self.runner, pairs, [1 / len(pairs)] * len(pairs), BAR)

    def good(self, circuits: Sequence[Nodes], *, pairs: int = 6) -> list[Nodes]:
        """Those that reach the bar."""
        qualities = self.judge(self.pairs(pairs)).assess(circuits)
        return [c for c, q in zip(circuits, qualities, strict=True) if q.reaches(BAR)]

    def bench(self) -> Bench:
        return make_bench(self.loaded, self.model, baseline=self.model)


@pytest.fixture(scope="module")
def trial_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Trial]:
    made: dict[tuple[str, int], Trial] = {}

    def make(kind: Callable[[int], KnownAnswer], seed: int) -> Trial:
        key = kind.__name__, seed
        if key not in made:
            made[key] = Trial(kind(seed), tmp_path_factory.mktemp("known"))
        return made[key]

    return make


def _swaps(trial: Trial) -> Iterator[Nodes]:
    """The circuit with one node replaced by another of the same hook point."""
    for hook, channel in trial.nodes:
        rest = trial.nodes.without(hook, channel)
        for other in set(range(trial.model.sites[hook].width)) - set(trial.nodes.at(hook)):
            yield Nodes.of(dict(rest.channels) | {hook: [*rest.at(hook), other]})


def _subset(nodes: Sequence[Node]) -> Nodes:
    hooks = {hook for hook, _ in nodes}
    return Nodes.of({h: [c for hook, c in nodes if hook == h] for h in hooks})


@pytest.mark.parametrize(("kind", "seed"), CASES)
def test_the_circuit_reaches_the_bar_and_without_any_of_its_nodes_it_does_not(
    trial_of: Callable[..., Trial], kind: Callable[[int], KnownAnswer], seed: int
) -> None:
    trial = trial_of(kind, seed)
    smaller = [trial.nodes.without(*node) for node in trial.nodes]
    assert trial.good([trial.nodes, *smaller], pairs=24) == [trial.nodes]


@pytest.mark.parametrize("kind", KINDS)
def test_no_node_can_be_swapped_for_another(
    trial_of: Callable[..., Trial], kind: Callable[[int], KnownAnswer]
) -> None:
    trial = trial_of(kind, 0)
    swapped = list(_swaps(trial))
    assert len(swapped) >= 60 * trial.nodes.count
    assert trial.good(swapped, pairs=1) == []


@pytest.mark.parametrize("kind", SERIES)
def test_no_proper_subset_reaches_the_bar(
    trial_of: Callable[..., Trial], kind: Callable[[int], KnownAnswer]
) -> None:
    trial = trial_of(kind, 0)
    sizes = range(1, trial.nodes.count)
    subsets = [_subset(s) for size in sizes for s in combinations(list(trial.nodes), size)]
    assert len(subsets) == 2**trial.nodes.count - 2
    assert trial.good(subsets) == []


@pytest.mark.parametrize(("kind", "seed"), CASES)
def test_every_node_varies_along_the_text(
    trial_of: Callable[..., Trial], kind: Callable[[int], KnownAnswer], seed: int
) -> None:
    trial = trial_of(kind, seed)
    assert all(trial.reference.std[hook][channel] > 0.01 for hook, channel in trial.nodes)


@pytest.mark.parametrize(("kind", "seed"), CASES)
def test_the_whole_model_has_the_behavior_and_its_prompts_are_as_the_gate_wants_them(
    trial_of: Callable[..., Trial], kind: Callable[[int], KnownAnswer], seed: int
) -> None:
    trial = trial_of(kind, seed)
    assert (trial.runner.margins(trial.pairs(64), WHOLE) > 0).all()
    problems = check_prompts(
        trial.loaded, trial.model.encode, max_tokens=trial.model.max_tokens, pairs=trial.pairs(64)
    )
    assert problems == ()


@pytest.mark.parametrize("kind", KINDS)
def test_all_four_claims_pass(
    trial_of: Callable[..., Trial], kind: Callable[[int], KnownAnswer]
) -> None:
    bench = trial_of(kind, 0).bench()
    found = {claim: run_claim(bench, claim) for claim in declared(bench.spec)}
    assert len(found) == 4
    assert [e.reason for e in found.values() if e.verdict is not Verdict.PASS] == []


def test_each_of_two_paths_prefers_the_answer_and_only_both_reach_the_bar(
    trial_of: Callable[..., Trial],
) -> None:
    trial = trial_of(redundant_quote, 0)
    halves = [Nodes.of(path) for path in trial.answer.paths]
    assert sum(half.count for half in halves) == trial.nodes.count
    for quality in trial.judge(trial.pairs(64)).assess(halves):
        assert quality.rate == 1.0
        assert BAR.max_loss < quality.loss < 0.15
        assert quality.left == 1.0


def test_one_path_and_a_node_that_cuts_the_other_does_not_reach_the_bar(
    trial_of: Callable[..., Trial],
) -> None:
    trial = trial_of(redundant_quote, 0)
    first, second = (list(Nodes.of(path)) for path in trial.answer.paths)
    cut = [_subset([*first, node]) for node in second] + [_subset([*second, n]) for n in first]
    assert trial.good(cut, pairs=24) == []


@pytest.mark.parametrize("kind", KINDS)
def test_twenty_seeds_are_twenty_models_with_twenty_circuits(
    kind: Callable[[int], KnownAnswer],
) -> None:
    answers = [kind(seed) for seed in range(20)]
    assert len({Nodes.of(answer.nodes) for answer in answers}) == 20
    assert len({tuple(a.module.embed.weight[0].tolist()) for a in answers}) == 20


@pytest.mark.parametrize("kind", KINDS)
def test_equal_seeds_give_equal_files(kind: Callable[[int], KnownAnswer], tmp_path: Path) -> None:
    first, second = (load_model(kind(3).write(tmp_path / name)) for name in ("a", "b"))
    assert first.digest == second.digest
    assert load_reference(first).digest == load_reference(second).digest
    assert kind(3).nodes == kind(3).nodes
