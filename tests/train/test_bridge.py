"""`train --from`: a dense model of transformers made sparse within a bound on its loss."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file
from torch.nn import functional as F

pytest.importorskip("transformers", reason="needs the extra: pip install 'pytest-circuits[hf]'")

import tests.loaded  # noqa: F401  (for the gate inside this process)
from pytest_circuits.cli import main
from pytest_circuits.errors import ModelError
from pytest_circuits.model.huggingface import directory, weights
from pytest_circuits.model.huggingface.adapter import HuggingFaceModel
from pytest_circuits.spec.load import read_as
from pytest_circuits.train import distributed
from pytest_circuits.train.bridge.config import BridgeConfig
from pytest_circuits.train.bridge.dense import matrices_of, with_tokenizer
from pytest_circuits.train.bridge.dual import Dual
from pytest_circuits.train.bridge.held_out import Text, held_out
from pytest_circuits.train.bridge.sparsify import Sparsifier, Step
from pytest_circuits.train.data.corpus import prepare
from pytest_circuits.train.distributed import World
from tests.huggingface.families import FAMILIES, edit, make, save
from tests.huggingface.side import CIRCUIT, FILLING, spec, write
from tests.model.test_huggingface_packed import packed

BOUND = 0.1
RECIPE = f"""\
max_rise: {BOUND}
min_density: 0.001
steps: 60
batch: 8
max_tokens: 16
data: {{held_out: 4, sources: [{{folder: {{path: text}}}}]}}
optimizer: {{lr: 0.001, warmup: 0.1, weight_decay: 0}}
checkpoints: {{every: 10}}
metrics: {{every: 10}}
evaluation: {{every: 10, windows: 64}}
"""
OF_EXPERTS = {"mixtral", "qwen3_moe"}
Bridge = Callable[..., Result]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dense model, text that it continues as it should, and the sparse model made of it."""
    top = tmp_path_factory.mktemp("bridge")
    edit(write(top / "dense"), eos_token_id=0)
    rng = np.random.default_rng(3)
    (top / "text").mkdir()
    for number in range(24):
        parts = []
        for side in rng.choice(["left", "right"], 40):
            parts += [side, *rng.choice(FILLING, rng.integers(1, 5)), "now", side[0].upper()]
        (top / "text" / f"{number:02}.txt").write_text(" ".join(parts))
    (top / "bridge.yaml").write_text(RECIPE)
    done = invoke(top)
    assert done.exit_code == 0, done.output
    return top


@pytest.fixture
def bridge(folder: Path, tmp_path: Path) -> Bridge:
    """The command in a folder of its own, on the recipe with some of its text replaced."""
    for name in ("dense", "text"):
        shutil.copytree(folder / name, tmp_path / name)

    def run(*options: str, **replaced: str) -> Result:
        kept = [line for line in RECIPE.splitlines() if line.partition(":")[0] not in replaced]
        new = [f"{key}: {value}" for key, value in replaced.items() if value]
        (tmp_path / "bridge.yaml").write_text("\n".join([*kept, *new, ""]))
        return invoke(tmp_path, *options)

    return run


def invoke(top: Path, *options: str) -> Result:
    arguments = [str(top / "bridge.yaml"), "--from", str(top / "dense"), "--out", str(top / "out")]
    return CliRunner().invoke(main, ["train", *arguments, *options])


def digest(top: Path) -> str:
    return hashlib.sha256((top / "out" / "model.safetensors").read_bytes()).hexdigest()


def loaded(path: Path) -> HuggingFaceModel:
    return directory.load(path, device=torch.device("cpu"))


def nonzeros(model: HuggingFaceModel) -> dict[str, int]:
    found = dict(model.module.named_parameters())
    return {name: int(found[name].count_nonzero()) for name in matrices_of(model)}


def test_few_weights_are_left_and_the_loss_is_within_its_bound(
    folder: Path, tmp_path: Path
) -> None:
    dense, sparse = loaded(folder / "dense"), loaded(folder / "out")
    config = read_as(folder / "bridge.yaml", BridgeConfig)
    config = with_tokenizer(config, dense, base=folder)
    corpus = prepare(config.data, tmp_path / "tokens", base=folder)
    found = held_out(dense, Text(corpus, (), dense.device), config)
    before, after = (found.measure(model.module) for model in (dense, sparse))

    assert after.loss - before.loss <= BOUND
    assert 0 < after.divergence <= BOUND
    assert 0 < sum(nonzeros(sparse).values()) < 0.3 * sum(nonzeros(dense).values())
    card = (folder / "out" / "README.md").read_text()
    rise = after.loss - before.loss
    assert f"loss {rise:+.4f}, divergence {after.divergence:.4f}, over all sources" in card
    assert f"{sum(nonzeros(sparse).values()):,} of {sum(nonzeros(dense).values()):,}" in card
    assert f"| {before.losses['folder']:.3f} | {after.losses['folder']:.3f} |" in card
    assert dense.digest in card
    assert "--from" in card
    assert re.search(r"transformers \d", card)


def test_what_the_library_has_to_advise_is_not_passed_on(
    bridge: Bridge, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edit(tmp_path / "dense", pad_token_id=6)  # a word of the text
    assert bridge().exit_code == 0
    assert not [record for record in caplog.records if record.name.startswith("transformers")]


def test_a_lower_bound_leaves_more_weights(folder: Path, bridge: Bridge, tmp_path: Path) -> None:
    done = bridge(max_rise="0.05", steps="100")
    assert done.exit_code == 0, done.output
    assert sum(nonzeros(loaded(tmp_path / "out")).values()) > 1.5 * sum(
        nonzeros(loaded(folder / "out")).values()
    )


def test_no_matrix_is_cut_below_the_least_density(bridge: Bridge, tmp_path: Path) -> None:
    done = bridge(max_rise="50", min_density="0.2")
    assert done.exit_code == 0, done.output
    sparse = loaded(tmp_path / "out")
    sizes = dict(sparse.module.named_parameters())
    assert {round(n / sizes[name].numel(), 2) for name, n in nonzeros(sparse).items()} == {0.2}


def test_the_library_reads_what_was_written(folder: Path) -> None:
    from transformers import AutoModelForCausalLM  # noqa: PLC0415  (an extra)

    theirs = AutoModelForCausalLM.from_pretrained(folder / "out", local_files_only=True)
    ours, tokens = loaded(folder / "out"), torch.arange(16)[None]
    assert torch.allclose(theirs(tokens).logits, ours.run(tokens), atol=1e-6)
    assert ours.tokenizer_digest == loaded(folder / "dense").tokenizer_digest


def test_the_gate_runs_on_what_was_written(
    pytester: pytest.Pytester, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    shutil.copytree(folder / "out", pytester.path / "model")
    (pytester.path / "circuits").mkdir()
    (pytester.path / "circuits" / "side.circuit.yaml").write_text(spec(nodes=CIRCUIT))
    done = pytester.runpytest_inprocess("--circuits")
    assert done.ret == 0, done.stdout.str()
    done.stdout.fnmatch_lines(
        [f"pass*side*{claim}*" for claim in ("behaves", "sufficient", "necessary")]
    )


@pytest.mark.parametrize("number", [5, 10, 34, 59])
def test_a_killed_run_resumes_to_the_same_weights(
    folder: Path, bridge: Bridge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    at_step(monkeypatch, number, lambda: (_ for _ in ()).throw(SystemExit(9)))
    assert bridge().exit_code == 9
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    done = bridge("--resume")
    assert done.exit_code == 0, done.output
    assert digest(tmp_path) == digest(folder)
    assert "nothing is left to do" in bridge("--resume").output


def test_a_signal_saves_and_stops_within_a_step(
    folder: Path, bridge: Bridge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_step(monkeypatch, 23, lambda: os.kill(os.getpid(), signal.SIGTERM))
    stopped = bridge()
    assert stopped.exit_code == 75
    assert "stopped by SIGTERM after step 24 of 60" in stopped.output
    monkeypatch.undo()
    again = bridge()
    assert again.exit_code == 4
    assert "go on with it by --resume" in again.output
    other = bridge("--resume", max_rise="0.2")
    assert other.exit_code == 4
    assert "another max_rise" in other.output
    assert bridge("--resume").exit_code == 0
    assert digest(tmp_path) == digest(folder)


def at_step(patch: pytest.MonkeyPatch, number: int, happens: Callable[[], object]) -> None:
    step = Sparsifier.step

    def disturbed(sparsifier: Sparsifier, **options: Any) -> Step:  # noqa: ANN401
        if sparsifier.done == number:
            happens()
        return step(sparsifier, **options)

    patch.setattr(Sparsifier, "step", disturbed)


def of_experts(dense: Path) -> None:
    shutil.rmtree(dense)
    save(make("mixtral"), dense)


def without_tokenizer(dense: Path) -> None:
    (dense / "tokenizer.json").unlink()


def of_four_bits(dense: Path) -> None:
    edit(dense, quantization_config={"quant_method": "gptq", "bits": 4})


def of_eight_bits(dense: Path) -> None:
    shutil.rmtree(dense)
    packed(dense, "llama", "bitsandbytes")


def adapter(dense: Path) -> None:
    dense.rename(dense.with_name("base"))
    dense.mkdir()
    said = {"peft_type": "LORA", "lora_alpha": 2, "base_model_name_or_path": "../base"}
    (dense / "adapter_config.json").write_text(json.dumps(said))
    name = "base_model.model.transformer.h.0.mlp.c_fc.lora_"
    pair = {f"{name}A.weight": torch.ones(1, 32), f"{name}B.weight": torch.ones(128, 1)}
    save_file(pair, dense / "adapter_model.safetensors")


def sparse_gpt(dense: Path) -> None:
    edit(dense, model_type=None)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (of_experts, "a mixtral model cannot be made sparse: its layers have weights that are no"),
        (without_tokenizer, "has no tokenizer.json"),
        (of_four_bits, "its weights are packed"),
        (of_eight_bits, r"its weights are packed or not merged \(int8 \(bitsandbytes\)\)"),
        (adapter, r"its weights are packed or not merged \(LoRA on float32\)"),
        (sparse_gpt, "is not a directory of transformers"),
        (shutil.rmtree, "no such model directory"),
    ],
)
def test_a_model_that_cannot_be_made_sparse_is_refused(
    bridge: Bridge, tmp_path: Path, harm: Callable[[Path], None], said: str
) -> None:
    harm(tmp_path / "dense")
    refused(bridge(), tmp_path, said)


def test_a_bound_that_the_dense_model_misses_is_refused(bridge: Bridge, tmp_path: Path) -> None:
    refused(bridge(max_loss="0.5"), tmp_path, r"as it is, and max_loss is 0.5; raise it")


def test_a_model_that_does_not_fit_is_refused_before_it_is_loaded(
    bridge: Bridge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "free_memory", lambda: 10**6)
    refused(bridge(), tmp_path, r"does not fit into memory: .* to be made sparse")


@pytest.mark.parametrize(
    ("values", "said", "status"),
    [
        ({"data": ""}, r"bridge.yaml:1:1: .*data", 2),
        ({"max_rise": ""}, r"bridge.yaml:1:1: .*max_rise", 2),
        ({"max_rise": "-1"}, r"bridge.yaml:\d+:11: ", 2),
        ({"max_tokens": "128"}, "takes 64 tokens at most, and max_tokens is 128", 2),
        ({"data": "{sources: [{folder: {path: nowhere}}]}"}, "nowhere", 4),
        ({"data": "{sources: [{folder: {path: dense, suffixes: [.md]}}]}"}, "no text|no file", 4),
        ({"data": "{tokenizer: {vocab_size: 400}}"}, "the tokenizer is that of", 4),
        ({"data": "{tokenizer: {end: w3}}"}, "name the file too", 2),
        ({"optimizer": "{sharkfin: true}"}, "sharkfin needs the final density", 2),
    ],
)
def test_what_a_configuration_cannot_ask_for_is_refused(
    bridge: Bridge, tmp_path: Path, values: dict[str, str], said: str, status: int
) -> None:
    refused(bridge(**values), tmp_path, said, status=status)


def test_several_processes_are_refused(
    bridge: Bridge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = World(torch.device("cpu"), rank=0, size=2)
    monkeypatch.setattr(distributed, "joined", lambda _: nullcontext(two))
    refused(bridge(), tmp_path, "--from is the work of one process", status=4)


def test_a_run_in_which_no_weight_could_go_writes_no_model(bridge: Bridge, tmp_path: Path) -> None:
    done = bridge(max_rise="1e-9", optimizer="{lr: 0.1}", evaluation="{every: 60, windows: 64}")
    assert done.exit_code == 2, done.output
    assert "no weight could go within 1e-09 nats per token" in done.output
    assert not (tmp_path / "out").exists()


def refused(done: Result, top: Path, said: str, *, status: int = 2) -> None:
    assert done.exit_code == status, done.output
    assert re.search(said, done.output), done.output
    assert "Traceback" not in done.output
    assert not (top / "out").exists()
    assert not (top / "out.training").exists()


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_matrices_of_a_family_are_those_of_its_linear_maps(family: str, tmp_path: Path) -> None:
    save(make(family), tmp_path / family)
    model = loaded(tmp_path / family)
    if family in OF_EXPERTS:
        with pytest.raises(ModelError, match="experts"):
            matrices_of(model)
        return
    names = matrices_of(model)
    layers = [name for name, p in model.module.named_parameters() if re.search(r"\.\d+\.", name)]
    others = {name for name in layers if name not in names}
    assert names
    assert len({name.rpartition(".")[0] for name in names}) == len(names)
    assert all(model.module.get_parameter(name).dim() == 1 for name in others)


@pytest.mark.parametrize(("prefix", "seen"), [((), [1, 2]), ((5,), [5, 1, 2]), ((4, 5), [5, 1, 2])])
def test_what_is_put_before_a_text_is_seen_and_not_predicted(
    prefix: tuple[int, ...], seen: list[int]
) -> None:
    def echo(*, input_ids: torch.Tensor, **_: object) -> Any:  # noqa: ANN401
        return SimpleNamespace(logits=F.one_hot(input_ids, 8).float())

    nothing: Any = None
    text = Text(nothing, prefix, torch.device("cpu"))
    rows = text.begun(torch.tensor([[1, 2, 3]]))
    logits = text.logits(echo, rows)
    assert rows.tolist() == [[*prefix, 1, 2, 3]]
    assert logits.argmax(-1).tolist() == [seen]
    said = torch.tensor([1, 2, 3][-len(seen) :])
    assert float(text.loss(logits, rows)) == float(F.cross_entropy(logits[0], said))


def test_the_dual_variable_follows_the_loss() -> None:
    dual = Dual(bound=0.1, least=0.05, updates=50)
    seen = []
    for _ in range(50):
        dual.update(-1.0, 0.0, speed=1.0)
        seen.append(dual.density)
    assert seen == sorted(seen, reverse=True)
    assert dual.density == 0.05
    for _ in range(10):
        dual.update(0.3, 0.0, speed=0.0)
    assert dual.density > 0.05
    for _ in range(100):
        dual.update(0.0, 0.3, speed=0.0)
    assert dual.density == 1.0
    for _ in range(20):
        dual.update(-1.0, 0.0, speed=0.0)
    assert dual.density == 1.0
