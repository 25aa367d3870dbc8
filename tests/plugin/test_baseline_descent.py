"""The gate says what to do where a baseline is old, or of a model the candidate is not from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pytest_circuits.model.sparse.directory import load_sparse_model, save_model
from tests.known_models import Weights, write_quote_copier
from tests.plugin.conftest import FOUR, Repository

OLD = "warning: quote_close: the baseline is old: it was recorded from the model *"
OTHER = "warning: quote_close: the candidate was made from the model *"


@pytest.fixture(scope="module")
def update_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A harmless update."""
    return write_quote_copier(tmp_path_factory.mktemp("descent") / "update", Weights(jitter=0.05))


@pytest.fixture
def recorded(repository: Repository, update_folder: Path) -> Repository:
    """A repository with a baseline of its model, and a candidate."""
    repository.write_good_spec(claims=FOUR)
    repository.gate("--circuits-update=new")
    shutil.copytree(update_folder, repository.path / "candidate")
    return repository


def _came_from(folder: Path, parent: str) -> None:
    """Write a model again, as made from another one."""
    model = load_sparse_model(folder)
    save_model(folder, module=model.module, tokenizer=model.tokenizer, card="", parent=parent)


def test_a_candidate_of_todays_release_is_no_news(recorded: Repository) -> None:
    _came_from(recorded.path / "candidate", load_sparse_model(recorded.path / "model").digest)

    result = recorded.gate("--circuits-model=candidate")

    assert result.ret == 0
    result.stdout.no_fnmatch_line("warning: *")


def test_a_baseline_of_an_earlier_release_is_old(recorded: Repository) -> None:
    shutil.rmtree(recorded.path / "model")
    write_quote_copier(recorded.path / "model", Weights(jitter=0.02))

    result = recorded.gate("--circuits-model=candidate")

    assert result.ret == 0
    result.stdout.fnmatch_lines([OLD])
    result.stdout.fnmatch_lines(["*circuits-update=changed*"])


def test_a_candidate_of_another_line_is_told(recorded: Repository) -> None:
    _came_from(recorded.path / "candidate", "ab" * 32)

    result = recorded.gate("--circuits-model=candidate")

    assert result.ret == 0
    result.stdout.fnmatch_lines([OTHER])
    assert "abababababab" in str(result.stdout)


def test_what_is_no_digest_is_no_parent(recorded: Repository) -> None:
    _came_from(recorded.path / "candidate", "\x1b[31m")

    result = recorded.gate("--circuits-model=candidate")

    result.stdout.no_fnmatch_line("warning: *")


def test_the_model_of_the_specification_is_its_own_candidate(recorded: Repository) -> None:
    shutil.rmtree(recorded.path / "model")
    write_quote_copier(recorded.path / "model", Weights(jitter=0.02))

    result = recorded.gate()

    assert result.ret == 0
    result.stdout.no_fnmatch_line("warning: *")


def test_a_specification_that_is_gone_when_the_gate_ends_is_no_crash(recorded: Repository) -> None:
    (recorded.path / "conftest.py").write_text(
        "import pathlib\n\ndef pytest_runtest_teardown(nextitem):\n"
        "    for path in pathlib.Path().rglob('*.circuit.yaml') if nextitem is None else ():\n"
        "        path.unlink()\n"
    )

    result = recorded.gate("--circuits-model=candidate")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["gate: PASS for candidate *"])
