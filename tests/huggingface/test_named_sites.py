"""A specification says where the sites of a model are, of a family in which none are found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

pytest.importorskip("transformers", reason="needs the extra: pip install 'pytest-circuits[hf]'")

import tests.loaded  # noqa: F401  (for the runs inside this process)
from pytest_circuits import Kind, Shows
from pytest_circuits.circuit.scope import check_scope
from pytest_circuits.cli import main
from pytest_circuits.errors import ModelError
from pytest_circuits.model.handed.adapter import HandedModel
from pytest_circuits.model.open import load_model
from pytest_circuits.spec.load import load_spec, parse_spec
from pytest_circuits.spec.sites import GAUGES, KINDS
from pytest_circuits.spec.write import dump_spec
from tests.huggingface.families import zero
from tests.huggingface.hybrid import CIRCUIT, DOWN, NEURONS, OUT, SITES, write
from tests.huggingface.side import reference_text, spec
from tests.known_models import write_quote_copier

STABLE = {"stable": "{max_drop: 0.06}"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, an update that keeps its circuit and one that does it by other heads."""
    top = tmp_path_factory.mktemp("hybrid")
    (top / "circuits").mkdir()
    (top / "circuits" / "side.circuit.yaml").write_text(spec(nodes=CIRCUIT, sites=SITES))
    text = reference_text(top / "text")
    write(top / "model")
    write(top / "bf16", bfloat16=True)
    write(top / "elsewhere", pair=(2, 7))
    for name in ("model", "bf16", "elsewhere"):
        at = ["--spec", str(top / "circuits" / "side.circuit.yaml")]
        done = CliRunner().invoke(main, ["reference", str(top / name), "--text", str(text), *at])
        assert done.exit_code == 0, done.output
    return top


@pytest.fixture
def repository(pytester: pytest.Pytester, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "160")
    shutil.copytree(folder, pytester.path, dirs_exist_ok=True)
    return pytester.path


def at(repository: Path) -> Path:
    return repository / "circuits" / "side.circuit.yaml"


def named(sites: str, *, model: Path) -> HandedModel:
    loaded = parse_spec(spec(sites=sites), path=model / "side.circuit.yaml")
    found = load_model(model, sites=loaded.spec.named)
    assert isinstance(found, HandedModel)
    return found


def test_a_family_in_which_none_are_found_is_refused_with_the_way_out(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"heads put out; name its sites \(docs/transformers.md\)"):
        load_model(folder / "model")


def test_sites_are_at_the_layers_where_the_part_is_there(folder: Path) -> None:
    model = named(SITES + NEURONS, model=folder / "model")
    neurons = [f"{layer}.mlp.neuron" for layer in range(3)]
    heads = ["0.attn.head", "2.attn.head"]
    assert [*model.sites] == [heads[0], *neurons[:2], heads[1], neurons[2]]
    assert {model.sites[name].kind for name in heads} == {Kind.HEAD}
    assert [model.sites["2.attn.head"].width, model.sites["1.mlp.neuron"].width] == [16, 24]
    assert [*model.gauges] == [
        *("0.attn.pattern", "0.mlp.scale", "1.mlp.scale", "2.attn.pattern", "2.mlp.scale")
    ]
    assert model.max_tokens == 64


@pytest.mark.parametrize(
    ("site", "node", "channels", "part"),
    [("2.attn.head", 11, slice(22, 24), OUT), ("1.mlp.neuron", 7, slice(7, 8), DOWN)],
)
def test_a_node_at_zero_is_its_weights_at_zero(
    folder: Path, site: str, node: int, channels: slice, part: str
) -> None:
    model = named(SITES + NEURONS, model=folder / "model")
    assert channels.start == node * model.sites[site].channels
    tokens = torch.tensor([model.encode("left w1 w2 now"), model.encode("right w3 w4 now")])
    plain, found = model.run(tokens), model.run(tokens, zero(site, channels))

    linear: Any = model.module.get_submodule(part.replace("{layer}", site[0]))
    linear.weight[:, channels] = 0

    assert torch.equal(model.run(tokens), found)
    assert not torch.equal(plain, found)


def test_what_is_named_is_a_part_of_what_a_model_is(folder: Path) -> None:
    both, one = SITES + NEURONS, NEURONS
    digests = [named(sites, model=folder / "model").digest for sites in (both, SITES, one)]
    assert len({*digests}) == 3
    turned = NEURONS + SITES
    assert named(turned, model=folder / "model").digest == digests[0]
    other_part = NEURONS.replace("feed_forward.w2", "ffn_norm")  # of other channels
    assert named(other_part, model=folder / "model").digest not in digests
    assert named(one, model=folder / "bf16").digest not in digests


def test_specifications_share_models_by_what_they_name(
    pytester: pytest.Pytester, repository: Path
) -> None:
    """Two that name the same, and one that names more."""
    circuits = repository / "circuits"
    for name, sites in (("same", SITES), ("more", SITES + NEURONS)):
        text = spec(nodes=CIRCUIT, sites=sites, specific="{others: [side], max_drop: 0.05}")
        (circuits / f"{name}.circuit.yaml").write_text(
            text.replace("circuit: side", f"circuit: {name}")
        )

    done = pytester.runpytest_inprocess(
        "--circuits", "--circuits-report=e.json", "-k", "not necessary"
    )

    found = json.loads((repository / "e.json").read_text())["circuits"]
    digests = {circuit["name"]: circuit["model"]["digest"] for circuit in found}
    assert digests["same"] == digests["side"] != digests["more"]
    model, more = digests["side"][:12], digests["more"][:12]
    done.stdout.fnmatch_lines([f"*model (*{more}*, model (*{model}*, named by the specs"])
    for circuit in ("more", "same", "side"):
        done.stdout.fnmatch_lines([f"pass*{circuit}*behaves*", f"pass*{circuit}*sufficient*"])
    for circuit in ("same", "more"):  # asked with the sites of either file: it is one behavior
        done.stdout.fnmatch_lines([f"fail*{circuit}*specific*", "*side drops"])
    files = {file["name"] for circuit in found for file in circuit["files"]}
    assert {"model/config.json", "model/model.safetensors", "model/tokenizer.json"} <= files
    assert "model/reference.safetensors" in files


def test_its_circuit_passes_and_updates_are_compared_with_its_baseline(
    pytester: pytest.Pytester, repository: Path
) -> None:
    at(repository).write_text(spec(nodes=CIRCUIT, sites=SITES, **STABLE))
    first = pytester.runpytest_inprocess("--circuits", "--circuits-update=new")
    first.stdout.fnmatch_lines(
        [
            "*made of*Lfm2ForCausalLM, 2 layers, vocabulary 26, no token put before a text",
            *(f"pass*side*{claim}*" for claim in ("behaves", "sufficient", "necessary")),
            "*gate: BASELINE RECORDED*",
        ]
    )
    second = pytester.runpytest_inprocess("--circuits", "--circuits-model=bf16")
    assert second.ret == 0, second.stdout.str()
    second.stdout.fnmatch_lines(["*bf16 (????????????), from*", "pass*stable*", "gate: PASS*"])

    options = ("--circuits-model=elsewhere", "--circuits-baseline=model")
    third = pytester.runpytest_inprocess("--circuits", *options)
    assert third.ret == 1
    third.stdout.fnmatch_lines(
        ["pass*behaves*", "fail*sufficient*", "fail*necessary*", "fail*stable*"]
    )


def test_the_commands_work_with_it(repository: Path) -> None:
    run = CliRunner().invoke
    path = at(repository)
    shown = run(main, ["show", str(path)])
    first, second = shown.output.split("\n\n0.attn.head[5]: ")[1].split("\n\n2.attn.head[11]: ")
    assert "with 'left': looks mostly at 'left'" in " ".join(first.split())
    assert "looks mostly at the token itself" in " ".join(second.split())
    planned = run(main, ["plan", str(path), "--model", str(repository / "bf16")])
    assert planned.exit_code == 0, planned.output
    models = [str(repository / name) for name in ("model", "elsewhere")]
    compared = run(main, ["diff", *models, str(path), "--json", str(repository / "d.json")])
    assert "side: replaced" in compared.output, compared.output
    record = json.loads((repository / "d.json").read_text())
    assert len(record["base"]["digest"]) == 64
    written = run(main, ["show", str(path), "--eap-ig", str(repository / "g.json")])
    assert written.exit_code == 4  # no MLPs, of which such graphs are made
    path.write_text(spec(sites=SITES))

    found = run(main, ["prune", str(path)])

    assert found.exit_code == 0, found.output
    complete = load_spec(path).spec
    assert {name: [*some] for name, some in complete.nodes.items()} == CIRCUIT
    assert complete.named == parse_spec(spec(sites=SITES), path=path).spec.named


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (OUT, OUT.replace("out_proj", "wo"), "12:23: model: sites: 'attn.head': Lfm2ForCausalLM "),
        ("nodes: 16", "nodes: 12", "12:85: model: sites: '0.attn.head': 32 channels cannot be 12"),
        ('out_proj"', 'q_layernorm"', "12:3: model: sites: '0.attn.head': expected an activation"),
        ("kind: scale", "kind: pattern", "14:3: model: sites: '0.mlp.scale': expected attention"),
        ("ffn_norm", "feed_forward", "14:23: model: sites: '0.mlp.scale': a Lfm2MLP is no norm"),
        ("kind: head", "kind: heads", "12:72: 'kind' of 'attn.head' of sites must be one of"),
        ("kind: head", "kin: head", "12:66: unknown key 'kin' in 'attn.head' of sites; did you"),
        ("kind: head, ", "", "12:3: 'kind' is missing in 'attn.head' of sites; it must be one of"),
        ("nodes: 16", "nodes: 0", "12:85: 'nodes' of 'attn.head' of sites must be a whole number"),
    ],
)
def test_what_is_wrong_is_told_at_its_place(
    pytester: pytest.Pytester, repository: Path, old: str, new: str, said: str
) -> None:
    text = spec(nodes=CIRCUIT, sites=SITES)
    assert old in text
    at(repository).write_text(text.replace(old, new))
    done = pytester.runpytest_inprocess("--circuits")
    assert done.ret == 2
    assert f"circuits/side.circuit.yaml:{said}" in done.stdout.str()


def test_what_nothing_reads_is_no_site(repository: Path) -> None:
    """Of a layer whose neurons are written nowhere."""
    module: Any = named(SITES, model=repository / "model").module
    module.model.layers[1].feed_forward.w2.weight.zero_()
    module.save_pretrained(repository / "model")
    at(repository).write_text(spec(nodes=CIRCUIT, sites=SITES + NEURONS))
    done = CliRunner().invoke(main, ["plan", str(at(repository))])
    assert done.exit_code == 2
    assert "side.circuit.yaml:15:3: " in done.output
    assert "'1.mlp.neuron': nothing reads what is there" in done.output


def test_text_of_another_tokenizer_is_refused(repository: Path) -> None:
    file = repository / "model" / "reference.safetensors"
    save_file({"tokens": torch.full((2, 8), 26)}, file)
    with pytest.raises(ModelError, match=r"reference\.safetensors: its text is of another tokeniz"):
        named(SITES, model=repository / "model")


def test_a_model_that_was_loaded_without_them_has_no_such_sites(folder: Path) -> None:
    loaded = parse_spec(spec(sites=SITES), path=folder / "side.circuit.yaml")
    (problem,) = check_scope(loaded, named(NEURONS, model=folder / "model"))
    assert str(problem).startswith(f"{loaded.path}:12:3: the model has no sites 'attn.head'")


def test_searches_in_one_directory_are_apart_by_what_is_named(repository: Path) -> None:
    """One among heads, one among neurons, of which there is no circuit."""
    at(repository).write_text(spec(sites=SITES))
    other = repository / "circuits" / "other.circuit.yaml"
    other.write_text(spec(sites=NEURONS).replace("circuit: side", "circuit: other"))
    done = CliRunner().invoke(main, ["prune", str(other), str(at(repository)), "--no-controls"])
    assert done.exit_code == 1, done.output
    assert "other: " in done.output
    assert {name: [*some] for name, some in load_spec(at(repository)).spec.nodes.items()} == CIRCUIT


def test_a_candidate_without_these_sites_is_refused_at_their_line(
    pytester: pytest.Pytester, repository: Path
) -> None:
    at(repository).write_text(
        spec(nodes={"1.mlp.neuron": [3]}, sites=NEURONS.replace("w2", "down"))
    )
    done = pytester.runpytest_inprocess("--circuits", "--circuits-model=elsewhere")
    assert done.ret == 2
    done.stdout.fnmatch_lines(["circuits/side.circuit.yaml:12:24: elsewhere: sites: 'mlp.neuron'*"])


def test_the_sites_of_another_adapter_are_not_named(
    pytester: pytest.Pytester, repository: Path
) -> None:
    write_quote_copier(repository / "sparse")
    at(repository).write_text(at(repository).read_text().replace("../model", "../sparse"))
    done = pytester.runpytest_inprocess("--circuits")
    assert done.ret == 2
    assert "side.circuit.yaml:11:1: sites: where they are is named of models of transformers" in (
        done.stdout.str()
    )
    assert "and sparse is a weight-sparse one; leave 'sites' out, or list" in done.stdout.str()


def test_a_model_that_is_handed_over_names_its_own(
    pytester: pytest.Pytester, repository: Path
) -> None:
    (repository / "conftest.py").write_text(
        "import pytest_circuits\n"
        "from tests.handed.tiny import SITES, Words, build\n\n"
        "def pytest_circuits_model(path, device):\n"
        "    return pytest_circuits.hand_over(\n"
        "        build().to(device), path=path, tokenizer=Words(), sites=SITES, max_tokens=32,\n"
        "        text='text',\n"
        "    )\n"
    )
    done = pytester.runpytest_inprocess("--circuits")
    assert done.ret == 2
    done.stdout.fnmatch_lines(
        ["circuits/side.circuit.yaml:11:1: sites: *model is handed over by conftest.py; leave*"]
    )


def test_the_mapping_is_written_as_it_was_read(tmp_path: Path) -> None:
    loaded = parse_spec(spec(nodes=CIRCUIT, sites=SITES), path=tmp_path / "side.circuit.yaml")
    text = dump_spec(loaded.spec)
    assert f'  attn.head: {{module: "{OUT}", kind: head, nodes: 16}}\n' in text
    assert parse_spec(text, path=loaded.path) == loaded
    other = parse_spec(text.replace("nodes: 16", "nodes: 8"), path=loaded.path)
    assert (other.digest != loaded.digest, other.seed) == (True, loaded.seed)


def test_kinds_are_those_of_models() -> None:
    assert tuple(Shows) == GAUGES
    assert (*Kind, *Shows) == KINDS
