"""Searches that are stopped, killed and run again: the same bytes, and no work done twice."""

from __future__ import annotations

import errno
import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from pydantic import TypeAdapter

from pytest_circuits.cli import main
from pytest_circuits.model.checkpoints import Checkpoint, save
from pytest_circuits.prune import masks, run, stages
from pytest_circuits.prune.stages import NOWHERE, Notes
from pytest_circuits.prune.subject import NotFoundError
from pytest_circuits.spec.load import load_spec
from pytest_circuits.system.files import write_atomic
from pytest_circuits.system.lock import hold
from tests.known_models import quote_copier
from tests.prune.conftest import request_for

# A search that is quick because it starts with the answer, and that has every stage.
QUICK = ("--start-from", "spec", "--steps", "3")
NUMBERS = TypeAdapter(list[int])


@dataclass(frozen=True)
class Case:
    """Specifications of one model, in files that a search replaces."""

    specs: tuple[Path, ...]
    before: tuple[str, ...]

    def prune(self, *more: str) -> Result:
        return CliRunner().invoke(main, ["prune", *map(str, self.specs), *QUICK, *more])

    def texts(self) -> list[str]:
        return [path.read_text() for path in self.specs]

    def undo(self) -> None:
        for path, text in zip(self.specs, self.before, strict=True):
            path.write_text(text)

    @property
    def kept(self) -> Path:
        return self.specs[0].parent / ".prune"


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """Two behaviors of few prompts, with circuits that a search can start with."""
    answer = quote_copier(0)
    answer.write(tmp_path / "model")
    channels = {hook: list(some) for hook, some in answer.nodes.items()}
    text = re.sub(
        r"from: .*count: .*", "from: [alpha], count: [10, 11]}}", answer.spec_with(channels)
    )
    specs = {
        "a": text,
        "b": text.replace("circuit: quote_close", "circuit: other").replace("alpha", "beta"),
    }
    for name, content in specs.items():
        (tmp_path / f"{name}.circuit.yaml").write_text(content)
    paths = tuple(tmp_path / f"{name}.circuit.yaml" for name in specs)
    return Case(paths, tuple(specs.values()))


@dataclass
class Mishap:
    """Ends the command at a write, as a kill does: nothing after it happens."""

    left: int
    steps: int = 0

    def strike(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise SystemExit(9)


@pytest.fixture
def mishap(monkeypatch: pytest.MonkeyPatch) -> Mishap:
    """Count the steps of masks, and die when so many files are about to be written or just were."""
    found = Mishap(0)
    descend = masks._Step.descend

    def deadly(path: Path, content: bytes) -> None:
        found.strike()
        write_atomic(path, content)
        found.strike()

    def deadly_save(folder: Path, checkpoint: Checkpoint, *, keep: int, continues: str) -> Path:
        found.strike()
        path = save(folder, checkpoint, keep=keep, continues=continues)
        found.strike()
        return path

    def counted(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        found.steps += 1
        return descend(*arguments, **options)

    monkeypatch.setattr(stages, "write_atomic", deadly)
    monkeypatch.setattr(stages, "save", deadly_save)
    monkeypatch.setattr(masks._Step, "descend", counted)
    monkeypatch.setattr(stages, "_EVERY", 0.0)
    return found


def test_a_search_that_is_killed_again_and_again_comes_to_the_same_bytes(
    case: Case, mishap: Mishap
) -> None:
    whole = case.prune()
    assert whole.exit_code == 0, whole.output
    texts, steps = case.texts(), mishap.steps
    assert [load_spec(path).spec.found_by["started_from"] for path in case.specs] == ["spec"] * 2
    assert not case.kept.exists()
    case.undo()
    mishap.steps, kills, half_done = 0, 0, False
    for left in (1, 4, 5, 2, 9, 12, 9, 4, 3, 8, 100):
        mishap.left = left
        result = case.prune()
        if result.exit_code == 0:
            break
        assert result.exit_code == 9
        kills += 1
        half_done |= case.texts()[0] == texts[0] and case.texts()[1] == case.before[1]
    assert result.exit_code == 0, result.output
    assert kills == 10
    assert half_done
    assert case.texts() == texts
    assert result.stdout == whole.stdout
    assert not case.kept.exists()
    # A step is only done twice where the kill came before it was saved.
    assert steps <= mishap.steps <= steps + kills


@dataclass(frozen=True)
class Killed:
    """A search that was killed when its masks had been learnt, and can be killed again."""

    case: Case
    mishap: Mishap

    def steps(self, *more: str) -> int:
        """How many steps the command does until it saves something for the first time."""
        self.mishap.left, self.mishap.steps = 1, 0
        self.run(*more)
        return self.mishap.steps

    def run(self, *more: str) -> None:
        command = ["prune", str(self.case.specs[0]), "--steps", "2", *more]
        assert CliRunner().invoke(main, command).exit_code == 9

    def replace(self, old: str, new: str) -> None:
        text = self.case.specs[0].read_text()
        assert old in text
        self.case.specs[0].write_text(text.replace(old, new))


@pytest.fixture
def killed(case: Case, mishap: Mishap) -> Killed:
    """Both steps of the search are done and saved."""
    found = Killed(case, mishap)
    mishap.left = 4
    found.run()
    assert mishap.steps == 2
    return found


def test_what_is_kept_is_found_again_by_the_same_search(killed: Killed) -> None:
    assert killed.steps() == 0
    killed.replace("model: model", "description: Closed.\nmodel: ./model")
    killed.replace("nodes:", "nodes:  # a first guess")
    assert killed.steps() == 0


@pytest.mark.parametrize(
    "changed", [["--seed", "1"], ["--steps", "3"], ["--sufficient-only"], ["--no-controls"]]
)
def test_another_search_starts_anew(killed: Killed, changed: list[str]) -> None:
    assert killed.steps(*changed) == 1


def test_what_is_kept_is_not_used_for_another_behavior(killed: Killed) -> None:
    killed.replace("max_loss: 0.15", "max_loss: 0.14")
    assert killed.steps() == 1
    killed.replace("max_loss: 0.14", "max_loss: 0.15")
    assert killed.steps() == 0
    killed.replace("alpha", "gamma")
    assert killed.steps() == 1


def test_what_is_kept_is_not_used_for_another_model(killed: Killed) -> None:
    quote_copier(1).write(killed.case.specs[0].parent / "model")
    assert killed.steps() == 1


def test_what_is_kept_is_not_used_by_other_code_or_another_number_of_threads(
    killed: Killed, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(stages, "source_digest", lambda *_: "of another day")
        assert killed.steps() == 1
    assert killed.steps() == 0
    with monkeypatch.context() as patch:
        patch.setattr(stages, "digest_of_file_of", lambda _: "of another adapter")
        assert killed.steps() == 1
    monkeypatch.setattr(torch, "get_num_threads", lambda: 99)
    assert killed.steps() == 1


def test_damaged_masks_are_learnt_anew(killed: Killed) -> None:
    (path,) = killed.case.kept.glob("*/*/*/*.safetensors")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert killed.steps() == 1


def test_a_signal_says_how_to_go_on(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()

    monkeypatch.setattr(run, "load_reference", ask)
    result = case.prune()
    assert result.exit_code == 75
    assert "stopped by SIGTERM; what was found is kept in" in result.output
    assert "run the same command again" in result.output
    assert case.texts() == list(case.before)


def test_a_second_run_for_the_same_result_is_refused(case: Case) -> None:
    (case.kept / "x").mkdir(parents=True)
    with hold(_folder(case.specs[1])):
        result = case.prune()
    assert result.exit_code == 4
    assert "another run is pruning here: pid" in result.output
    assert case.texts() == list(case.before)


def test_the_state_may_lie_elsewhere_and_equal_names_do_not_meet_there(
    case: Case, tmp_path: Path, mishap: Mishap
) -> None:
    mishap.left = 2
    state = tmp_path / "state"
    assert case.prune("--state", str(state)).exit_code == 9
    assert not case.kept.exists()
    names = {path.name.rpartition("-")[0] for path in state.iterdir()}
    assert names == {"a.circuit.yaml", "b.circuit.yaml"}
    elsewhere = tmp_path / "other" / "a.circuit.yaml"
    assert _folder(elsewhere).name != _folder(case.specs[0]).name


def test_a_state_that_cannot_be_written_is_said_before_anything_runs(
    case: Case, tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("")
    result = case.prune("--state", str(tmp_path / "state" / "x"))
    assert result.exit_code == 4
    assert "cannot be written" in result.output
    assert "--state" in result.output


def test_a_full_disk_is_said_and_what_was_kept_stays(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stages, "write_atomic", full)
    result = case.prune()
    assert result.exit_code == 2
    assert "No space left on device" in result.output
    assert "make room, or name another folder with --state" in result.output


@pytest.mark.parametrize("damage", [b"", b"{", b'{"value": "1"}', b'{"value": "1", "sha256": "x"}'])
def test_a_damaged_note_is_worked_out_again(tmp_path: Path, damage: bytes) -> None:
    note = Notes(tmp_path).about("something")
    assert note.once(lambda: [1], NUMBERS) == note.once(lambda: [2], NUMBERS) == [1]
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage)
    assert note.once(lambda: [3], NUMBERS) == note.once(lambda: [4], NUMBERS) == [3]


def test_that_nothing_was_found_is_kept_too(tmp_path: Path) -> None:
    def vain() -> list[int]:
        raise NotFoundError("no circuit")

    note = Notes(tmp_path).about("something")
    for work in (vain, lambda: [1]):
        with pytest.raises(NotFoundError, match="no circuit"):
            note.once(work, NUMBERS)


def test_without_a_folder_nothing_is_kept() -> None:
    note = Notes().about("something")
    assert note.once(lambda: [1], NUMBERS) == [1]
    assert note.once(lambda: [2], NUMBERS) == [2]
    NOWHERE.save(lambda: pytest.fail("nobody asked"), now=True)
    assert NOWHERE.load() is None


def _folder(spec: Path) -> Path:
    (folder,) = request_for(spec).folders
    return folder


def test_masks_start_from_what_another_method_proposes(case: Case) -> None:
    command = ["prune", str(case.specs[0]), "--steps", "1", "--no-controls", "--no-edges"]
    result = CliRunner().invoke(main, [*command, "--start-from", "attribution"])
    assert result.exit_code == 0, result.output
    first = re.search(r"1/1  (\d+) nodes", result.stderr)
    assert first is not None
    found_by = load_spec(case.specs[0]).spec.found_by
    assert found_by["started_from"] == "attribution"
    assert int(str(found_by["nodes"])) <= int(first[1]) < 100
