"""The pruner on a model whose circuit is known, and what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from pytest_circuits.circuit import Nodes, Runner
from pytest_circuits.cli import main
from pytest_circuits.model import load_model, load_reference
from pytest_circuits.prompts import PromptSpace
from pytest_circuits.prune.discretise import eliminate, smallest, top
from pytest_circuits.prune.quality import Bar, assess
from pytest_circuits.spec import Ablation, load_spec
from tests.known_models import QUOTE_PATH, WEAK_PATH, merged, quote_spec, write_quote_copier

if TYPE_CHECKING:
    from pathlib import Path

BAR = Bar(max_loss=0.12, min_rate=0.98, max_left=0.58, max_separation=0.6)


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    write_quote_copier(tmp_path / "model")
    path = tmp_path / "quote_close.circuit.yaml"
    path.write_text(quote_spec({}, model="model"))
    return path


def test_the_command_finds_the_known_circuit_and_writes_a_complete_spec(spec: Path) -> None:
    result = CliRunner().invoke(main, ["prune", str(spec), "--steps", "150"])
    assert result.exit_code == 0, result.output
    found = load_spec(spec).spec
    known = set(Nodes.of(merged(QUOTE_PATH, WEAK_PATH)))
    nodes = set(Nodes.of(found.nodes))
    assert len(nodes - known) <= 1
    assert {("0.attn.v", 0), ("0.attn.resid_delta", 2), ("final_resid", 2)} <= nodes
    assert found.found_by["nodes"] == len(nodes)
    assert found.model == "model"
    assert f"pytest --circuits {spec}" in result.output


def test_the_search_is_a_function_of_its_seed(spec: Path, tmp_path: Path) -> None:
    texts = []
    for name in ("a", "b"):
        out = tmp_path / f"{name}.circuit.yaml"
        arguments = ["prune", str(spec), "--steps", "30", "--seed", "3", "--out", str(out)]
        assert CliRunner().invoke(main, arguments).exit_code == 0
        texts.append(out.read_text())
    assert texts[0] == texts[1]


def test_a_behavior_that_the_model_does_not_have_is_said_and_nothing_is_written(
    spec: Path,
) -> None:
    swapped = spec.read_text().replace("choice: [", "choice: [zzz, ", 1)
    spec.write_text(
        swapped.replace("""'"': '"'""", """'"': 'b'""").replace('"\'": "\'"', "\"'\": 'a'")
    )
    before = spec.read_text()
    result = CliRunner().invoke(main, ["prune", str(spec), "--steps", "20"])
    assert result.exit_code == 2
    assert spec.read_text() == before
    assert "which is no behavior that a circuit could explain" in result.output


def test_the_smallest_prefix_is_found_although_a_longer_one_may_be_worse(spec: Path) -> None:
    loaded, model = load_spec(spec).spec, load_model(spec.parent / "model")
    runner = Runner(model, load_reference(model), Ablation.MEAN)
    pairs = PromptSpace(loaded.behavior).sample(16, seed=1)
    path = list(Nodes.of(merged(QUOTE_PATH, WEAK_PATH)))
    others = [("0.mlp.post_act", i) for i in range(20)]
    ranking = [*others[:3], *path, *others[3:]]
    nodes = smallest(runner, ranking, pairs, BAR, most=len(ranking))
    assert nodes is not None
    assert assess(runner, [nodes], pairs)[0].reaches(BAR)
    assert not assess(runner, [top(ranking, nodes.count - 1)], pairs)[0].reaches(BAR)


def test_elimination_removes_what_is_not_missed(spec: Path) -> None:
    loaded, model = load_spec(spec).spec, load_model(spec.parent / "model")
    runner = Runner(model, load_reference(model), Ablation.MEAN)
    pairs = PromptSpace(loaded.behavior).sample(16, seed=1)
    padded = merged(QUOTE_PATH, WEAK_PATH, {"0.mlp.post_act": list(range(12))})
    sizes = [nodes for nodes, _ in eliminate(runner, Nodes.of(padded), pairs, BAR)]
    assert not any(hook == "0.mlp.post_act" for hook, _ in sizes[-1])
    assert assess(runner, [sizes[-1]], pairs)[0].reaches(BAR)
