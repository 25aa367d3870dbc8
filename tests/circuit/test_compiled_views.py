"""Where it pays, a view runs as a compiled circuit, and only where that gives the same logits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import pytest_circuits.model.sparse.adapter
from pytest_circuits.circuit.nodes import Nodes, all_nodes
from pytest_circuits.circuit.random_circuits import random_circuits
from pytest_circuits.circuit.runner import LEAST_PROMPTS, Runner, agree
from pytest_circuits.circuit.view import WHOLE, View
from pytest_circuits.compile.compiled import CompiledCircuit, compile_circuit
from pytest_circuits.model.open import load_model
from pytest_circuits.model.protocol import Model
from pytest_circuits.model.reference_file import load_reference
from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.prompts.space import Pair, PromptSpace
from pytest_circuits.spec.ablations import Ablation
from pytest_circuits.spec.load import load_spec
from tests.known_models import QUOTE_PATH, WEAK_PATH, quote_spec, write_quote_copier

CIRCUIT = View.circuit(Nodes.of(QUOTE_PATH))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(write_quote_copier(tmp_path_factory.mktemp("model") / "copier"))


@pytest.fixture(scope="module")
def pairs(model: Model) -> tuple[Pair, ...]:
    path = model.path.parent / "quote.circuit.yaml"
    path.write_text(quote_spec(QUOTE_PATH, model="copier"))
    return PromptSpace(load_spec(path).spec.behavior).sample(70, seed=3)


@pytest.fixture
def runner_of(model: Model, pairs: tuple[Pair, ...]) -> Callable[..., Runner]:
    """A runner that expects many prompts of a view, or fewer."""

    def make(
        view: View = CIRCUIT, *, prompts: int = LEAST_PROMPTS, ablation: Ablation = Ablation.MEAN
    ) -> Runner:
        runner = Runner(model, load_reference(model), ablation)
        runner.expect(view, prompts=prompts, check=pairs[:5])
        return runner

    return make


@pytest.mark.parametrize("ablation", [Ablation.MEAN, Ablation.ZERO])
def test_a_view_of_many_prompts_runs_compiled_and_scores_as_the_ablated_model(
    runner_of: Callable[..., Runner], pairs: tuple[Pair, ...], ablation: Ablation
) -> None:
    compiled, ablated = runner_of(ablation=ablation), runner_of(ablation=ablation, prompts=0)
    np.testing.assert_allclose(
        compiled.margins(pairs, CIRCUIT), ablated.margins(pairs, CIRCUIT), atol=2e-5
    )
    distinct = len({prompt for pair in pairs for prompt in (pair.first, pair.second)})
    assert (ablated.compiled, ablated.forwards) == (0, distinct)
    assert (compiled.compiled, compiled.forwards) == (distinct + 10, 10)  # ten to check it


def test_a_prompt_scores_the_same_whatever_it_runs_with(
    runner_of: Callable[..., Runner], pairs: tuple[Pair, ...]
) -> None:
    together = runner_of().margins(pairs, CIRCUIT)
    runner = runner_of()
    one_by_one = np.concatenate([runner.margins([pair], CIRCUIT) for pair in pairs])
    assert np.array_equal(together, one_by_one)
    assert np.array_equal(runner_of().margins(pairs[::-1], CIRCUIT)[::-1], together)


def test_a_compiled_circuit_that_differs_is_not_trusted(
    runner_of: Callable[..., Runner], pairs: tuple[Pair, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(model: SparseModel, _nodes: Nodes, *rest: object) -> CompiledCircuit:
        return compile_circuit(model, Nodes.of(WEAK_PATH), *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(pytest_circuits.model.sparse.adapter, "compile_circuit", wrong)
    found = runner_of().margins(pairs, CIRCUIT)
    assert np.array_equal(found, runner_of(prompts=0).margins(pairs, CIRCUIT))


def test_what_is_not_a_number_agrees_with_nothing() -> None:
    assert agree(np.array([3.0, -20.0]), np.array([3.00003, -20.0002]))
    assert not agree(np.array([3.0]), np.array([3.0001]))
    assert not agree(np.array([np.nan]), np.array([np.nan]))


def test_what_does_not_pay_is_not_compiled(
    runner_of: Callable[..., Runner], model: Model, pairs: tuple[Pair, ...]
) -> None:
    reference = load_reference(model)
    nodes, everything = Nodes.of(QUOTE_PATH), all_nodes(model)
    other = View.circuit(random_circuits(nodes, model, reference, count=1, seed=1)[0])
    for runner, view in (
        (runner_of(prompts=LEAST_PROMPTS - 1), CIRCUIT),
        (runner_of(ablation=Ablation.RESAMPLE), CIRCUIT),
        (runner_of(View.circuit(everything)), View.circuit(everything)),
        (runner_of(View.without(nodes)), View.without(nodes)),
        (runner_of(WHOLE), WHOLE),
        (runner_of(), other),  # that nobody announced
    ):
        runner.margins(pairs[:3], view)
        assert runner.compiled == 0


def test_a_control_is_never_compiled(
    runner_of: Callable[..., Runner], pairs: tuple[Pair, ...]
) -> None:
    runner = runner_of()
    runner.margins_many(pairs[:3], [CIRCUIT])
    assert runner.compiled == 0


def test_the_bundled_circuits_score_as_the_ablated_model(pytestconfig: pytest.Config) -> None:
    folder: Path = pytestconfig.rootpath / "circuits"
    loaded = load_spec(folder / "bracket_counting.circuit.yaml")
    model = load_model(loaded.model_path)
    view = View.circuit(Nodes.of(loaded.spec.nodes))
    pairs = PromptSpace(loaded.spec.behavior).sample(40, seed=11)
    runners = [Runner(model, load_reference(model), loaded.spec.ablations[0]) for _ in range(2)]
    runners[0].expect(view, prompts=LEAST_PROMPTS, check=pairs[:5])
    compiled, ablated = (runner.margins(pairs, view) for runner in runners)
    assert runners[0].compiled > runners[0].forwards
    np.testing.assert_allclose(compiled, ablated, atol=2e-5)
    assert np.array_equal(compiled, runners[0].margins(pairs[::-1], view)[::-1])
