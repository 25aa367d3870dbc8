"""Every claim runs on a model that the package does not know, by what the model says of itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from pytest_circuits.circuit.check import check_circuit
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.evidence import Evidence, Verdict
from pytest_circuits.claims.laws import run_claim
from pytest_circuits.claims.registry import CLAIMS
from pytest_circuits.claims.setup import make_bench
from pytest_circuits.claims.stable.baseline_file import (
    read_baseline,
    record_baseline,
    write_baseline,
)
from pytest_circuits.cli import main
from pytest_circuits.model.open import load_model
from pytest_circuits.model.protocol import Model
from pytest_circuits.model.reference import measure
from pytest_circuits.model.reference_file import load_reference, save_reference
from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.model.sparse.directory import load_sparse_model
from pytest_circuits.prune.plan import Method, PrunePlan
from pytest_circuits.prune.search import find_circuits
from pytest_circuits.prune.subject import NotFoundError, Subject
from pytest_circuits.spec.load import load_spec
from tests.foreign.plain_model import ADAPTER, WEIGHTS, PlainModel
from tests.known_models import QUOTE_PATH, Circuit, quote_spec, write_quote_copier

CIRCUIT: Circuit = {
    "b0/in": QUOTE_PATH["0.attn.act_in"],
    "b0/query": QUOTE_PATH["0.attn.q"],
    "b0/key": QUOTE_PATH["0.attn.k"],
    "b0/value": QUOTE_PATH["0.attn.v"],
    "b0/heads": [0],
    "b0/mixed": QUOTE_PATH["0.attn.resid_delta"],
    "out": QUOTE_PATH["final_resid"],
}
PROTOCOL = "{pairs: 100, search: 10, controls: 39}"
SEES_NO_TOKENS = frozenset(
    f"b{n}/{what}" for n in range(2) for what in ("query", "key", "value", "heads", "looks")
)


@pytest.fixture(scope="module")
def copier(tmp_path_factory: pytest.TempPathFactory) -> SparseModel:
    return load_sparse_model(write_quote_copier(tmp_path_factory.mktemp("known") / "model"))


@pytest.fixture(scope="module")
def folder(copier: SparseModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of the quote copier in a directory of the plain model's own, with specs."""
    top = tmp_path_factory.mktemp("plain")
    made = top / "model"
    made.mkdir()
    save_file(copier.module.state_dict(), made / WEIGHTS)
    copier.tokenizer.save(made / "tokenizer.json")
    model = ADAPTER.load(made, device=torch.device("cpu"))
    save_reference(model, measure(model, load_reference(copier).tokens))
    (top / "bracket.circuit.yaml").write_text(
        quote_spec({}, name="bracket", behavior="bracket", claims=["behaves"])
    )
    (top / "quote_close.circuit.yaml").write_text(_spec_text(CIRCUIT))
    return top


def _spec_text(nodes: Circuit) -> str:
    text = quote_spec(nodes, claims=tuple(CLAIMS), protocol=PROTOCOL)
    # A space that is run whole, and names of one token each.
    text = text.replace("user_id, ", "").replace("count: [1, 5]", "count: [1, 1]")
    return text.replace("{slots: [name], rate: 0.9}", "{slots: [name], rate: 0.9, max_shift: 6}")


@pytest.fixture(scope="module")
def plain(folder: Path) -> PlainModel:
    return ADAPTER.load(folder / "model", device=torch.device("cpu"))


@pytest.fixture(scope="module")
def run(folder: Path) -> Callable[..., Evidence]:
    """Put a claim to the test on a plain model, compared with itself."""
    benches: dict[object, Bench] = {}

    def decided(claim: str, model: PlainModel, nodes: Circuit = CIRCUIT) -> Evidence:
        key = model.hidden, tuple((name, tuple(some)) for name, some in nodes.items())
        if key not in benches:
            spec = folder / "quote_close.circuit.yaml"
            loaded = load_spec(spec)
            loaded = replace(loaded, spec=loaded.spec.model_copy(update={"nodes": dict(nodes)}))
            if model.hidden:
                model = _with_reference(model)
            benches[key] = make_bench(loaded, model, baseline=model)
        return run_claim(benches[key], claim)

    return decided


def _with_reference(model: PlainModel) -> PlainModel:
    """The same in a folder of its own, with a reference of the sites that it shows."""
    text = load_reference(replace(model, hidden=frozenset())).tokens
    elsewhere = model.path.parent / f"hides-{len(model.hidden)}"
    elsewhere.mkdir(exist_ok=True)
    found = replace(model, path=elsewhere)
    save_reference(found, measure(found, text))
    return found


@pytest.fixture(scope="module")
def known(copier: SparseModel) -> Bench:
    """The same circuit of the same weights, as the adapter of the package shows them."""
    beside = copier.path.parent
    (beside / "bracket.circuit.yaml").write_text(
        quote_spec({}, name="bracket", behavior="bracket", claims=["behaves"])
    )
    (beside / "quote_close.circuit.yaml").write_text(_spec_text(QUOTE_PATH))
    return make_bench(load_spec(beside / "quote_close.circuit.yaml"), copier, baseline=copier)


@pytest.mark.parametrize("claim", list(CLAIMS))
def test_every_claim_comes_out_as_for_the_same_weights_behind_the_known_adapter(
    plain: PlainModel, known: Bench, run: Callable[..., Evidence], claim: str
) -> None:
    evidence, expected = run(claim, plain), run_claim(known, claim)

    assert evidence.verdict is expected.verdict, evidence.reason
    assert (evidence.verdict is Verdict.PASS) == (claim != "minimal"), evidence.reason
    if claim in {
        "behaves",
        "sufficient",
        "blind",
        "depends_on",
    }:  # ablates nothing beside the nodes
        assert evidence.rate is not None
        assert expected.rate is not None
        assert evidence.rate.estimate == pytest.approx(expected.rate.estimate, abs=0.02)


@pytest.mark.parametrize("claim", ["sufficient", "stable", "faithful"])
def test_a_head_in_the_place_of_the_one_that_does_it_fails(
    plain: PlainModel, run: Callable[..., Evidence], claim: str
) -> None:
    other = dict(CIRCUIT) | {"b0/heads": [5], "b0/value": [40], "b0/mixed": [20], "out": [20]}

    evidence = run(claim, plain, other)

    assert (evidence.verdict is Verdict.PASS) == (claim == "stable")  # against itself it is stable


@pytest.mark.parametrize(
    ("claim", "says"),
    [
        ("blind", "this model does not show the keys and values of every layer"),
        ("faithful", "what its heads attend to cannot be compared: this model does not show it"),
        ("stable", "what its heads attend to cannot be compared: this model does not show it"),
    ],
)
def test_what_a_model_does_not_show_is_inconclusive_and_never_a_pass(
    plain: PlainModel, run: Callable[..., Evidence], claim: str, says: str
) -> None:
    shown = {name: nodes for name, nodes in CIRCUIT.items() if name not in SEES_NO_TOKENS}
    whole = {**shown, "b0/in": range(64)}  # what its heads read is all that is left of them

    evidence = run(claim, replace(plain, hidden=SEES_NO_TOKENS), whole)

    assert evidence.verdict is not Verdict.PASS
    assert says in evidence.reason or evidence.verdict is Verdict.FAIL
    assert not {"attention_apart", "attention_distance"} & evidence.measures.keys()
    if claim != "faithful":  # which also fails, for other reasons
        assert evidence.verdict is Verdict.INCONCLUSIVE, evidence.reason


@pytest.mark.parametrize("where", ["", "b1"])
def test_norms_that_are_not_shown_leave_faithful_undecided(
    plain: PlainModel, run: Callable[..., Evidence], where: str
) -> None:
    scales = frozenset(n for n in plain.gauges if "scale" in n and n.startswith(where))

    evidence = run("faithful", replace(plain, hidden=scales))

    assert evidence.verdict is Verdict.INCONCLUSIVE
    assert "its norms cannot be given the scales of the whole model" in evidence.reason
    assert "gap_frozen_norms" not in evidence.measures
    assert "attention_distance" in evidence.measures


def test_keys_of_one_layer_alone_are_not_all_that_tokens_send(
    plain: PlainModel, run: Callable[..., Evidence]
) -> None:
    evidence = run("blind", replace(plain, hidden=frozenset({"b1/key"})))

    assert evidence.verdict is Verdict.INCONCLUSIVE
    assert "does not show the keys and values of every layer" in evidence.reason


class LeakyModel(PlainModel):
    """Adds to the logits what the first token is: a way that no site shows."""

    def run(self, tokens: torch.Tensor, *args: object, **more: object) -> torch.Tensor:
        logits = super().run(tokens, *args, **more)  # type: ignore[arg-type]
        told = torch.zeros(logits.shape[-1])
        told[self.encode("'")[0]] = 1.0
        amount = (tokens[:, 0] % 7).float() / 5
        return logits + amount.view(-1, *[1] * (logits.dim() - 1)) * told


def test_a_way_beside_keys_and_values_is_noticed(folder: Path, plain: PlainModel) -> None:
    leaky = LeakyModel(plain.path, plain.weights, plain.tokenizer, plain.digest, plain.device)
    bench = make_bench(load_spec(folder / "quote_close.circuit.yaml"), leaky)

    evidence = run_claim(bench, "blind")

    assert evidence.verdict is Verdict.INCONCLUSIVE
    assert "something else is sent, which could not be exchanged" in evidence.reason


class LastTokenModel(PlainModel):
    """Adds to the logits what the asked token is: a way that no site shows either."""

    def run(self, tokens: torch.Tensor, *args: object, **more: object) -> torch.Tensor:
        logits = super().run(tokens, *args, **more)  # type: ignore[arg-type]
        at = more["at"]
        assert isinstance(at, torch.Tensor)
        asked = tokens[torch.arange(len(at)), at]
        told = torch.zeros(logits.shape[-1])
        told[self.encode("'")[0]] = 1.0
        return logits + (asked % 7).float()[:, None] / 50 * told


def test_a_way_of_the_last_token_is_noticed_where_it_is_all_that_differs(
    folder: Path, plain: PlainModel
) -> None:
    spec = folder / "last.circuit.yaml"
    text = quote_spec(CIRCUIT, name="last", claims=("blind",))
    text = text.replace("{name} = {cue}{words}", "{cue}{words} {name}")
    spec.write_text(text.replace("rate: 0.9}", "rate: 0.9, max_shift: 9}"))
    leaky = LastTokenModel(plain.path, plain.weights, plain.tokenizer, plain.digest, plain.device)

    honest, told = (
        run_claim(make_bench(load_spec(spec), model), "blind") for model in (plain, leaky)
    )
    spec.unlink()

    said = "something else is sent, which could not be exchanged"
    assert said not in honest.reason
    assert told.verdict is not Verdict.PASS
    assert said in told.reason


def test_edges_of_a_model_that_shows_no_weights_are_refused(
    folder: Path, plain: PlainModel
) -> None:
    spec = folder / "edges.circuit.yaml"
    edges = "edges:\n  b0/in -> b0/key: [[0, 0]]\n"
    spec.write_text(quote_spec(CIRCUIT, name="edges", extra=edges))

    (problem,) = check_circuit(load_spec(spec), plain)

    assert "this model shows no weights between hook points" in problem.text
    spec.unlink()


def test_a_baseline_is_recorded_and_read(folder: Path, plain: PlainModel, tmp_path: Path) -> None:
    loaded = load_spec(folder / "quote_close.circuit.yaml")
    file = tmp_path / "quote_close.baseline.yaml"
    write_baseline(file, record_baseline(make_bench(loaded, plain), []))

    evidence = run_claim(make_bench(loaded, plain, baseline=read_baseline(file)), "stable")

    assert evidence.verdict is Verdict.PASS, evidence.reason


def test_the_pruner_finds_its_circuit(folder: Path, plain: PlainModel) -> None:
    plan = PrunePlan(
        method=Method.ATTRIBUTION, evaluation_pairs=32, rounds=1, edges=False, controls=False
    )
    spec, reference = load_spec(folder / "quote_close.circuit.yaml").spec, load_reference(plain)

    (found,) = find_circuits([Subject.of(spec, plain, reference, plan)], reference, plan)

    assert not isinstance(found, NotFoundError)
    written = {(name, CIRCUIT[name][0]) for name in ("b0/mixed", "out")}
    assert written <= set(found.nodes), "what the head writes, and what is read of it"
    assert found.nodes.count <= Nodes.of(CIRCUIT).count + 1


def test_the_gate_opens_it_by_an_entry_point(folder: Path, tmp_path: Path) -> None:
    installed = tmp_path / "site" / "plain_model-1.0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: plain-model\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(
        "[pytest_circuits.models]\nplain = tests.foreign.plain_model:ADAPTER\n"
    )
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(installed.parent), str(root)])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--circuits", "-p", "no:cacheprovider", "--rootdir=.",
         "bracket.circuit.yaml"],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert "gate: PASS" in done.stdout


def test_the_adapter_is_chosen_by_what_lies_in_the_directory(
    monkeypatch: pytest.MonkeyPatch, folder: Path, copier: SparseModel
) -> None:
    monkeypatch.setattr("pytest_circuits.model.open._adapters", lambda: {"plain": ADAPTER})

    opened: list[Model] = [load_model(path) for path in (folder / "model", copier.path)]

    assert [type(model) for model in opened] == [PlainModel, SparseModel]


def test_its_circuit_is_drawn_and_explained_without_a_program(
    folder: Path, plain: PlainModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_circuits.model.open.load_model", lambda *_, **__: plain)
    spec, drawn = str(folder / "quote_close.circuit.yaml"), folder / "drawn.svg"

    told = CliRunner().invoke(main, ["show", spec])
    result = CliRunner().invoke(main, ["show", spec, f"--svg={drawn}"])

    assert (told.exit_code, result.exit_code) == (0, 0), told.output
    assert told.output.startswith("This is a mechanism that the model uses.")
    assert "\n\nWhat each part does in the whole model." in told.output
    assert "b0/value[0]: a value of attention head 0 of layer 0" in told.output
    assert "from the last token, with '\"': looks mostly at ' \"'" in told.output
    assert ">b0/mixed</text>" in drawn.read_text(encoding="utf-8")
