"""`pytest-circuits convert viz_data.pt`: a published circuit becomes a specification that loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

import pytest_circuits
from pytest_circuits.cli import main
from pytest_circuits.convert import circuit as circuits
from pytest_circuits.convert.reader import Pickled
from pytest_circuits.errors import ModelError
from pytest_circuits.model.open import load_model
from pytest_circuits.model.sparse.directory import load_sparse_model
from pytest_circuits.spec.ablations import Ablation
from pytest_circuits.spec.load import load_spec
from tests.known_models import D_MODEL, QUOTE_PATH, quote_spec, write_quote_copier


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_quote_copier(tmp_path_factory.mktemp("models") / "copier")


@pytest.fixture
def behavior(tmp_path: Path) -> Path:
    path = tmp_path / "described.circuit.yaml"
    path.write_text(quote_spec({}, name="described", model="nowhere", extra="description: Why.\n"))
    return path


def _viz_data(model: Path, **changes: object) -> dict[str, Any]:
    """What the published pruner stores: every place, those without a node with an empty list."""
    subject = load_model(model)
    rows = [subject.encode(f"x = {quote}alpha beta") for quote in ("'", "'", '"', '"')]
    samples = torch.zeros(4, max(map(len, rows)) + 3, dtype=torch.int64)
    for row, ids in zip(samples, rows, strict=True):
        row[: len(ids)] = torch.tensor(ids)
    kept = {hook: torch.tensor(list(QUOTE_PATH.get(hook, ()))) for hook in subject.sites}
    return {
        "circuit_data": kept | {"prune_config": {"k_coef": 1e-4, "steps": 300, "a: b": 1}},
        "importances": {
            "loss": 0.02,
            "interv_loss": torch.tensor(0.25),
            "ch_interv_losses": {"0.attn.q": [0.5, float("nan")]},
            "task_samples": (samples, {"0.attn.q": {0: torch.rand(4, 9)}}),
            "beeg_model_config": {"n_layer": 2, "d_model": D_MODEL, "n_head": 8, "flash": True},
        },
        "samples": {"0.attn.q": [torch.full((3,), float("nan"))]},
        "all_loss": [(0, 0.4), (1, 0.3)],
        "num_total_nodes": 11 * D_MODEL,
    } | changes


def _saved(folder: Path, content: object) -> Path:
    path = (
        folder / "viz" / "copier" / "single_double_quote" / "prune_v4" / "k_optim" / "viz_data.pt"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def _convert(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["convert", *map(str, arguments)])


def test_the_circuit_of_a_behavior_becomes_a_specification(
    model: Path, behavior: Path, tmp_path: Path
) -> None:
    source, out = _saved(tmp_path, _viz_data(model)), tmp_path / "quote_close.circuit.yaml"
    result = _convert(source, "--model", model, "--behavior", behavior, "--out", out)
    assert result.exit_code == 0, result.output
    assert f"{out}: 7 nodes at 6 hook points" in result.output
    loaded, described = load_spec(out), load_spec(behavior)
    spec = loaded.spec
    assert loaded.model_path == model.resolve()
    assert {hook: list(indexes) for hook, indexes in spec.nodes.items()} == QUOTE_PATH
    assert (spec.circuit, spec.ablations) == ("quote_close", (Ablation.MEAN,))
    assert spec.behavior == described.spec.behavior
    assert spec.claims == described.spec.claims
    found_by = dict(spec.found_by)
    assert len(str(found_by.pop("source_sha256"))) == 64
    assert found_by == {
        "tool": f"pytest-circuits {pytest_circuits.__version__} convert",
        "source": "viz_data.pt",
        "model_digest": load_model(model).digest,
        "nodes": 7,
        "published_model": "copier",
        "task": "single_double_quote",
        "sweep": "prune_v4",
        "k": "k_optim",
        "loss_whole_model": 0.01,
        "task_loss": 0.125,
        "prune_config.k_coef": 1e-4,
        "prune_config.steps": 300,
    }


def test_a_folder_that_holds_a_circuit_stands_for_it(
    model: Path, behavior: Path, tmp_path: Path
) -> None:
    source, out = _saved(tmp_path, _viz_data(model)), tmp_path / "quote_close.circuit.yaml"
    result = _convert(source.parent, "--model", model, "--behavior", behavior, "--out", out)
    assert result.exit_code == 0, result.output


def test_without_a_behavior_the_prompts_are_shown_and_nothing_is_written(
    model: Path, tmp_path: Path
) -> None:
    source, out = _saved(tmp_path, _viz_data(model)), tmp_path / "quote_close.circuit.yaml"
    result = _convert(source, "--model", model, "--out", out)
    assert result.exit_code == 4
    assert "7 nodes and 4 prompts as tokens, but no behavior" in result.output
    assert "name it with --behavior SPEC" in result.output
    shown = [line.strip() for line in result.output.splitlines() if " -> " in line]
    assert len(shown) == 4
    assert shown[0].startswith('"x = \'alpha beta" -> ')
    assert shown[2].startswith("'x = \"alpha beta' -> ")
    assert not out.exists()


def test_a_final_resid_that_was_not_pruned_is_kept_whole(
    model: Path, behavior: Path, tmp_path: Path
) -> None:
    data = _viz_data(model)
    del data["circuit_data"]["final_resid"]
    out = tmp_path / "quote_close.circuit.yaml"
    source = _saved(tmp_path, data)
    result = _convert(source, "--model", model, "--behavior", behavior, "--out", out)
    assert result.exit_code == 0, result.output
    assert load_spec(out).spec.nodes["final_resid"] == tuple(range(D_MODEL))


@pytest.mark.parametrize(
    ("circuit_data", "said"),
    [
        ({"7.attn.q": torch.tensor([1])}, "'7.attn.q' is no hook point of"),
        ({"0.attn.q": torch.tensor([64])}, "are not different numbers below 64"),
        ({"0.attn.q": torch.tensor([1, 1])}, "are not different numbers below 64"),
        ({"0.attn.q": torch.tensor([-1])}, "are not different numbers below 64"),
        ({"0.attn.q": torch.ones(64, dtype=torch.bool)}, "'0.attn.q' holds no list of channels"),
        ({"0.attn.q": torch.tensor([0.5])}, "'0.attn.q' holds no list of channels"),
        ({}, "holds no circuit"),
    ],
)
def test_channels_that_the_model_does_not_have_are_refused(
    model: Path, monkeypatch: pytest.MonkeyPatch, circuit_data: dict[str, Any], said: str
) -> None:
    tensors = {f"circuit_data/{hook}": channels for hook, channels in circuit_data.items()}
    read = Pickled(tensors, {}, "0" * 64)
    monkeypatch.setattr(circuits, "read_pickled", lambda *_, **__: read)
    with pytest.raises(ModelError) as error:
        circuits.read_circuit(model / "viz_data.pt", load_sparse_model(model))
    assert said in str(error.value)


def test_the_circuit_of_another_model_is_refused(
    model: Path, behavior: Path, tmp_path: Path
) -> None:
    data = _viz_data(model)
    data["importances"]["beeg_model_config"]["n_layer"] = 12
    out = tmp_path / "x.circuit.yaml"
    source = _saved(tmp_path, data)
    result = _convert(source, "--model", model, "--behavior", behavior, "--out", out)
    assert result.exit_code == 2
    assert "the circuit of another model: its n_layer is 12" in result.output


def test_a_name_that_no_circuit_can_have_is_refused(
    model: Path, behavior: Path, tmp_path: Path
) -> None:
    out = tmp_path / "no name.circuit.yaml"
    source = _saved(tmp_path, _viz_data(model))
    result = _convert(source, "--model", model, "--behavior", behavior, "--out", out)
    assert result.exit_code == 4
    assert not out.exists()
    taken = _convert(source, "--model", model, "--behavior", behavior, "--out", behavior)
    assert taken.exit_code == 4
    assert "nothing is overwritten" in taken.output
