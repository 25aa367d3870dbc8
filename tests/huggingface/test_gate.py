"""The gate, the pruner and `diff` on a model of transformers whose circuit of heads is known."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

pytest.importorskip("transformers", reason="needs the extra: pip install 'pytest-circuits[hf]'")

import tests.loaded  # noqa: F401  (for the runs inside this process)
from pytest_circuits.circuit.check import check_circuit
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.scope import check_scope, in_scope
from pytest_circuits.cli import main
from pytest_circuits.errors import SpecError
from pytest_circuits.model.open import load_model
from pytest_circuits.model.reference_file import load_reference
from pytest_circuits.prune.plan import Method, PrunePlan
from pytest_circuits.prune.search import find_circuits
from pytest_circuits.prune.subject import NotFoundError, Subject
from pytest_circuits.spec.load import load_spec, parse_spec
from tests.huggingface.side import CIRCUIT, reference_text, spec, write
from tests.known_models import QUOTE_PATH, quote_spec, write_quote_copier

BEYOND = {
    "stable": "{max_drop: 0.02}",
    "faithful": "{rate: 0.9, max_gap: 0.2}",
    "minimal": "{quantile: 0.9}",
    "blind": "{slots: [filling], rate: 0.9, max_shift: 3}",
    "depends_on": "{slots: [cue], rate: 0.9}",
}
STABLE = {"stable": "{max_drop: 0.06}"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, an update that keeps its circuit and one that does it by other heads."""
    top = tmp_path_factory.mktemp("side")
    text = reference_text(top / "text")
    models = (write(top / "model"), write(top / "bf16", bfloat16=True))
    for path in (*models, write(top / "elsewhere", pair=(2, 7))):
        done = CliRunner().invoke(main, ["reference", str(path), "--text", str(text)])
        assert done.exit_code == 0, done.output
    return top


@pytest.fixture
def repository(pytester: pytest.Pytester, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "160")
    shutil.copytree(folder, pytester.path, dirs_exist_ok=True)
    (pytester.path / "circuits").mkdir()
    return pytester.path


def at(repository: Path) -> Path:
    return repository / "circuits" / "side.circuit.yaml"


def test_a_circuit_of_heads_passes_and_its_update_is_compared(
    pytester: pytest.Pytester, repository: Path
) -> None:
    at(repository).write_text(spec(nodes=CIRCUIT, **BEYOND))

    first = pytester.runpytest_inprocess("--circuits", "--circuits-update=new")

    first.stdout.fnmatch_lines(
        [
            "*made of*gpt2, 2 layers, 16 heads, d_model 32, vocabulary 26, float32 weights, no *",
            *(f"pass*side*{claim}*" for claim in ("behaves", "sufficient", "necessary")),
            "recorded*side*stable*",
            *(f"pass*side*{claim}*" for claim in ("faithful", "minimal", "blind", "depends_on")),
            "*gate: BASELINE RECORDED*",
        ]
    )
    at(repository).write_text(spec(nodes=CIRCUIT, **STABLE))
    second = pytester.runpytest_inprocess("--circuits", "--circuits-model=bf16")
    assert second.ret == 0, second.stdout.str()
    second.stdout.fnmatch_lines(["*bfloat16 weights*", "pass*side*stable*", "gate: PASS*"])

    third = pytester.runpytest_inprocess("--circuits", "--circuits-model=elsewhere")
    assert third.ret == 1
    third.stdout.fnmatch_lines(
        ["pass*side*behaves*", "fail*side*sufficient*", "fail*side*necessary*", "fail*side*stable*"]
    )


def test_what_its_heads_do_is_said(repository: Path) -> None:
    at(repository).write_text(spec(nodes=CIRCUIT))

    said = CliRunner().invoke(main, ["show", str(at(repository))])

    assert said.exit_code == 0, said.output
    first, second = (
        " ".join(said.output.partition(f"\n{name}: ")[2].partition("\n\n")[0].split())
        for name in ("0.attn.head[5]", "1.attn.head[11]")
    )
    assert "from the last token, with 'left': looks mostly at 'left'" in first
    assert "from the last token, with 'right': looks mostly at 'right'" in first
    assert "from the last token: looks mostly at the token itself (100 % of" in second
    for each in (first, second):
        assert "one thing with 'left', another with 'right' (100 % of" in each
    assert re.search(r"' L' by \S+ to \S+ nats with 'left' \(100 %", second)
    assert "'L' most of all tokens with 'left' (100 %" in second
    assert "'R' most of all tokens with 'right' (100 %" in second


def test_an_adapter_that_is_not_merged_is_a_candidate_as_it_is(
    pytester: pytest.Pytester, repository: Path
) -> None:
    at(repository).write_text(spec(nodes=CIRCUIT))
    adapter = repository / "lora"
    adapter.mkdir()
    said = {"peft_type": "LORA", "lora_alpha": 2, "base_model_name_or_path": "../model"}
    (adapter / "adapter_config.json").write_text(json.dumps(said))
    name = "base_model.model.transformer.h.0.mlp.c_fc.lora_"
    pair = {f"{name}A.weight": torch.ones(1, 32), f"{name}B.weight": torch.ones(128, 1) / 1000}
    save_file(pair, adapter / "adapter_model.safetensors")
    text = str(reference_text(repository / "text"))
    assert CliRunner().invoke(main, ["reference", str(adapter), "--text", text]).exit_code == 0

    done = pytester.runpytest_inprocess(
        "--circuits", "--circuits-model=lora", "--circuits-report=evidence.json"
    )

    assert done.ret == 0, done.stdout.str()
    done.stdout.fnmatch_lines(["*LoRA on float32 weights*", "gate: PASS*"])
    (circuit,) = json.loads((repository / "evidence.json").read_text())["circuits"]
    names = {file["name"] for file in circuit["files"] if file["role"] == "model"}
    assert {"lora/adapter_model.safetensors", "model/model.safetensors"} <= names


def test_diff_says_what_an_update_did(repository: Path) -> None:
    at(repository).write_text(spec(nodes=CIRCUIT))
    arguments = [str(repository / "model"), str(repository / "elsewhere"), str(at(repository))]

    done = CliRunner().invoke(main, ["diff", *arguments])

    assert "0.attn.head[5]" in done.output, done.output
    assert done.exit_code in {0, 1}


@pytest.mark.parametrize("ablation", ["[mean, contrast]", "contrast"])
def test_the_pruner_finds_the_heads_among_all(folder: Path, ablation: str) -> None:
    plan = PrunePlan(method=Method.ATTRIBUTION, evaluation_pairs=16, rounds=1, controls=False)
    path = folder / "circuits" / "side.circuit.yaml"
    loaded = parse_spec(spec().replace("[mean, contrast]", ablation), path=path)
    model = load_model(folder / "model")
    reference = load_reference(model)

    (found,) = find_circuits([Subject.of(loaded.spec, model, reference, plan)], reference, plan)

    assert not isinstance(found, NotFoundError)
    assert found.nodes == Nodes.of({name: tuple(some) for name, some in CIRCUIT.items()})


def test_what_a_circuit_is_chosen_among_has_to_be_said(folder: Path) -> None:
    model, path = load_model(folder / "model"), folder / "side.circuit.yaml"

    (problem,) = check_circuit(parse_spec(spec(nodes=CIRCUIT, sites=""), path=path), model)
    assert "'sites' has to say what the circuit is chosen among" in str(problem)
    assert f"{path}:{problem.line}:" in str(problem)
    assert problem.line == 11
    assert problem.hint == "write 'sites: [attn.head]'"

    misspelt = parse_spec(spec(nodes=CIRCUIT, sites="[attn.haed]"), path=path)
    (problem,) = check_circuit(misspelt, model)
    assert (problem.line, problem.hint) == (11, "did you mean 'attn.head'?")
    with pytest.raises(SpecError):
        in_scope(misspelt.spec, model)

    (problem,) = check_circuit(parse_spec(spec(nodes={"0.attn.head": [16]}), path=path), model)
    assert "0.attn.head has channels 0 to 15" in str(problem)
    (problem,) = check_circuit(parse_spec(spec(nodes={"0.mlp.neuron": [1]}), path=path), model)
    assert "the model has no hook point '0.mlp.neuron'" in str(problem)

    nothing = parse_spec(spec(sites=""), path=path)  # a behavior alone: nothing is ablated
    assert not list(check_scope(nothing, model))
    (problem,) = check_scope(nothing, model, searched=True)
    assert "'sites: [attn.head]', or others of resid, attn.kv" in str(problem)


def test_a_model_whose_sites_do_not_overlap_has_no_use_for_it(tmp_path: Path) -> None:
    model = load_model(write_quote_copier(tmp_path / "model"))
    text = quote_spec(QUOTE_PATH, extra="sites: [attn.q]\n")

    (problem,) = check_circuit(parse_spec(text, path=tmp_path / "x.circuit.yaml"), model)

    assert "of this model a circuit is always chosen among all hook points" in str(problem)


def test_what_it_is_chosen_among_decides_the_digest_and_is_written(tmp_path: Path) -> None:
    path = tmp_path / "x.circuit.yaml"
    one, other, same = (
        parse_spec(spec(nodes=CIRCUIT, sites=sites), path=path)
        for sites in ("[attn.head]", "[attn.head, mlp.neuron]", "[mlp.neuron, attn.head]")
    )
    assert one.digest != other.digest
    assert other.digest == same.digest
    assert replace(one, path=path).spec.sites == ("attn.head",)


def test_nodes_of_several_sorts_stand_in_one_circuit(folder: Path) -> None:
    path = folder / "circuits" / "x.circuit.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        spec(nodes={"0.attn.kv": [5], "0.mlp.neuron": [3]}, sites="[attn.kv, mlp.neuron]")
    )
    loaded = load_spec(path)
    model = load_model(folder / "model")
    assert not check_circuit(loaded, model)
    shown = in_scope(loaded.spec, model).sites
    assert list(shown) == [f"{n}.{point}" for n in range(2) for point in ("attn.kv", "mlp.neuron")]
