"""Bad input ends with status 2, a text that says what to do, and no traceback."""

from __future__ import annotations

import shutil

import pytest

from pytest_circuits.model.open import load_model
from pytest_circuits.model.reference import measure
from pytest_circuits.model.reference_file import load_reference, save_reference
from tests.plugin.conftest import FOUR, Repository, spec_text


@pytest.mark.parametrize(
    ("find", "replace", "said"),
    [
        ("rate: 0.98", "rate: 0.98, rate: 0.1", "*circuit.yaml:*:*: *rate*"),
        ("behaves:", "behave:", "*unknown key*behave*did you mean 'behaves'?*"),
        ("rate: 0.98", "rate: .nan", "*circuit.yaml:*:*: *"),
        ("final_resid: [2]", "final_resid: [99]", "*node final_resid?99? is out of range*"),
        ("final_resid:", "final_residue:", "*the model has no hook point 'final_residue'*"),
        ('"\'": "\'"', '"\'": "\'alpha beta"', "*circuit.yaml:*:*: *token*"),
        ("version: 1", "version: [" * 50, "*circuit.yaml:*:*: *"),
        ("model: ../model", "model: ../absent", "*absent: no such model directory*"),
    ],
)
def test_a_bad_specification_is_refused(
    repository: Repository, find: str, replace: str, said: str
) -> None:
    repository.write("circuits/quote_close.circuit.yaml", spec_text().replace(find, replace))

    result = repository.gate()

    assert result.ret == 2
    result.stdout.fnmatch_lines([said])
    assert "Traceback" not in result.stdout.str()


def test_a_specification_without_nodes_names_the_command_that_finds_them(
    repository: Repository,
) -> None:
    text = spec_text()
    start, end = text.index("nodes:"), text.index("claims:")
    repository.write("circuits/a.circuit.yaml", text[:start] + text[end:])

    result = repository.gate()

    assert result.ret == 2
    result.stdout.fnmatch_lines(["*find them with: pytest-circuits prune circuits/a.circuit.yaml*"])


def test_a_model_that_cannot_be_loaded_is_explained_once(repository: Repository) -> None:
    repository.write_good_spec("a")
    repository.write_good_spec("b")
    (repository.path / "model/model.safetensors").write_bytes(b"\x00" * 4)

    result = repository.gate()

    assert result.ret == 2
    result.stdout.fnmatch_lines(["model: cannot be used, for the reason given before"])
    assert "Traceback" not in result.stdout.str()


def test_control_characters_of_a_file_do_not_reach_the_terminal(repository: Repository) -> None:
    repository.write("circuits/a.circuit.yaml", spec_text() + '"\\e[31m\\u202e": 1\n')

    result = repository.gate()

    assert result.ret == 2
    assert "\x1b[31m" not in result.stdout.str()
    assert "\u202e" not in result.stdout.str()


def test_one_bad_specification_does_not_hide_another(repository: Repository) -> None:
    repository.write("circuits/a.circuit.yaml", "version: 2\n")
    repository.write("circuits/b.circuit.yaml", "nonsense: [\n")

    result = repository.gate()

    assert result.ret == 2
    result.stdout.fnmatch_lines(["*circuits/a.circuit.yaml:1:*", "*circuits/b.circuit.yaml:*"])


def test_a_damaged_baseline_is_refused(repository: Repository) -> None:
    repository.write_good_spec(claims=FOUR)
    repository.gate("--circuits-update=new")
    repository.write("circuits/quote_close.baseline.yaml", "schema_version: 9\n")

    result = repository.gate()

    assert result.ret == 2
    result.stdout.fnmatch_lines(["*quote_close.baseline.yaml*"])
    assert "Traceback" not in result.stdout.str()


@pytest.mark.parametrize(
    ("kind", "most"), [("mean", 1e6), ("std", 0.0), ("bank", 1e6)], ids=["mean", "std", "bank"]
)
def test_a_reference_that_says_something_else_than_its_model_is_refused(
    repository: Repository, kind: str, most: float
) -> None:
    repository.write_good_spec()
    model = load_model(repository.path / "model")
    reference = load_reference(model)
    channel = int(reference.std["final_resid"].argmax())
    getattr(reference, kind)["final_resid"][..., channel] = most
    save_reference(model, reference)

    result = repository.gate()

    assert result.ret == 2
    told = " ".join(result.stdout.str().split())
    assert "model/reference.safetensors: is not what this model does on the text in it" in told
    assert f"({kind} of final_resid" in told


def test_a_candidate_with_another_tokenizer_is_refused(repository: Repository) -> None:
    repository.write_good_spec()
    folder = repository.path / "candidate"
    shutil.copytree(repository.path / "model", folder)
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace("<|end|>", "<|stop|>"))
    candidate = load_model(folder)
    tokens = load_reference(load_model(repository.path / "model")).tokens
    save_reference(candidate, measure(candidate, tokens))

    result = repository.gate("--circuits-model=candidate")

    assert result.ret == 2
    result.stdout.fnmatch_lines(
        ["candidate: not comparable: its tokenizer is not the one of the model that *"]
    )


def test_a_model_path_that_runs_in_circles_is_refused(repository: Repository) -> None:
    repository.write_good_spec()
    shutil.rmtree(repository.path / "model")
    (repository.path / "model").symlink_to("model")

    result = repository.gate()

    assert result.ret == 2
    result.stdout.fnmatch_lines(["*model: no such model directory*"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
