"""Checkpoints: whole or not there, whatever happens while one is written."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import shutil
import signal
import time
import warnings
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save as to_safetensors

from pytest_circuits.model.checkpoints import Checkpoint, CheckpointError, newest, save

FILES = ["tensors.safetensors", "state.json", "MANIFEST.json"]
CHANGING = ["open", "write", "fsync", "mkdir", "rename", "replace"]
REMOVING = ["unlink", "rmdir"]

posix = pytest.mark.skipif(os.name == "nt", reason="needs fork")


def _checkpoint(step: int, *, note: str = "", size: int = 4) -> Checkpoint:
    generator = torch.Generator().manual_seed(step)
    weight = torch.randn(size, size, generator=generator)
    tensors = {
        "model.weight": weight,
        "optimizer.moment": weight.to(torch.bfloat16),
        "optimizer.step": torch.tensor(float(step)),
        "rng": torch.arange(3, dtype=torch.uint8),
        "seen": torch.tensor(2**62 + step),
        "sum": torch.tensor([step / 3, 5e-324], dtype=torch.float64),
    }
    return Checkpoint(step=step, tensors=tensors, state={"note": note, "lr": step / 7})


def _assert_same(found: Checkpoint | None, expected: Checkpoint) -> None:
    assert found is not None
    assert (found.step, found.state) == (expected.step, expected.state)
    assert found.tensors.keys() == expected.tensors.keys()
    for name, tensor in expected.tensors.items():
        other = found.tensors[name]
        assert (other.dtype, other.shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(other.flatten().view(torch.uint8), tensor.flatten().view(torch.uint8))


def _newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    said: list[str] = []
    return newest(folder, say=said.append), said


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path: Path) -> None:
    path = save(tmp_path / "run", _checkpoint(1200), keep=2)
    assert path == tmp_path / "run" / "checkpoint-00001200"
    assert _names(path) == sorted(FILES)
    found, said = _newest(tmp_path / "run")
    _assert_same(found, _checkpoint(1200))
    assert said == []


def test_negative_zero_and_views_come_back(tmp_path: Path) -> None:
    tensors = {"zero": torch.tensor([-0.0]), "view": torch.arange(12.0).reshape(3, 4).T[1:]}
    save(tmp_path, Checkpoint(1, tensors, {}), keep=1)
    _assert_same(_newest(tmp_path)[0], Checkpoint(1, tensors, {}))


def test_an_empty_or_missing_folder_has_no_checkpoint(tmp_path: Path) -> None:
    assert _newest(tmp_path) == (None, [])
    assert _newest(tmp_path / "missing") == (None, [])
    (tmp_path / "checkpoint-old").mkdir()
    (tmp_path / "metrics.jsonl").touch()
    assert _newest(tmp_path) == (None, [])


def test_the_newest_is_the_greatest_step(tmp_path: Path) -> None:
    for step in (99_999_999, 123_456_789, 5):
        save(tmp_path, _checkpoint(step), keep=9)
    _assert_same(_newest(tmp_path)[0], _checkpoint(123_456_789))


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_newest_few_are_kept(tmp_path: Path, keep: int) -> None:
    for step in range(10, 60, 10):
        save(tmp_path, _checkpoint(step), keep=keep)
    assert _names(tmp_path) == [f"checkpoint-{n:08d}" for n in range(10, 60, 10)][-keep:]


def test_saving_the_same_again_touches_nothing(tmp_path: Path) -> None:
    path = save(tmp_path, _checkpoint(10), keep=2)
    before = [(path / name).stat().st_ino for name in FILES]
    save(tmp_path, _checkpoint(10), keep=2)
    assert [(path / name).stat().st_ino for name in FILES] == before


def test_another_state_of_the_same_step_replaces_it(tmp_path: Path) -> None:
    save(tmp_path, _checkpoint(10, note="first"), keep=1)
    save(tmp_path, _checkpoint(10, note="second"), keep=1)
    _assert_same(_newest(tmp_path)[0], _checkpoint(10, note="second"))
    assert _names(tmp_path) == ["checkpoint-00000010"]


def test_the_files_of_a_checkpoint_have_the_usual_permissions(tmp_path: Path) -> None:
    path = save(tmp_path, _checkpoint(10), keep=1)
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "file").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert (path / FILES[0]).stat().st_mode == (tmp_path / "plain" / "file").stat().st_mode


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_state_that_is_not_finite_is_never_saved(
    tmp_path: Path, value: float, dtype: torch.dtype
) -> None:
    save(tmp_path, _checkpoint(10), keep=1)
    poisoned = Checkpoint(20, {"moment": torch.tensor([1, value], dtype=dtype)}, {})
    with pytest.raises(CheckpointError, match="step 20 is not saved: 'moment' holds NaN"):
        save(tmp_path, poisoned, keep=1)
    with pytest.raises(CheckpointError, match="step 20 is not saved: its state"):
        save(tmp_path, Checkpoint(20, {}, {"loss": value}), keep=1)
    _assert_same(_newest(tmp_path)[0], _checkpoint(10))


# Damage: the one before is used, and a line says why.


def _two(folder: Path) -> Path:
    save(folder, _checkpoint(10), keep=2)
    return save(folder, _checkpoint(20), keep=2)


def _assert_passed_over(folder: Path, why: str = "") -> None:
    found, said = _newest(folder)
    _assert_same(found, _checkpoint(10))
    assert len(said) == 1
    assert said[0].startswith("checkpoint-00000020 is damaged and passed over: ")
    assert why in said[0]
    assert "\n" not in said[0]


@pytest.mark.parametrize("name", FILES)
def test_every_byte_that_flips_is_noticed(tmp_path: Path, name: str) -> None:
    path = _two(tmp_path) / name
    content = path.read_bytes()
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 0xFF
        path.write_bytes(flipped)
        _assert_passed_over(tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_every_truncation_is_noticed(tmp_path: Path, name: str) -> None:
    path = _two(tmp_path) / name
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        _assert_passed_over(tmp_path, name)
    path.write_bytes(content + b"\0")
    _assert_passed_over(tmp_path, name)


def _of_another(path: Path) -> None:
    shutil.copy(path.parent.parent / "checkpoint-00000010" / path.name, path)


def _a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _a_dead_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nothing")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "removed": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"\x80\x02garbage" * 99),
    "json garbage": lambda path: path.write_text('{"step": 20, "step": 20}'),
    "json of another kind": lambda path: path.write_text('[{"format": 1}]'),
    "deep": lambda path: path.write_text("[" * 50_000),
    "huge": lambda path: path.write_bytes(b" " * 2**20),
    "of another checkpoint": _of_another,
    "a folder": _a_folder,
    "a pipe": _a_pipe,
    "a dead link": _a_dead_link,
}


@posix
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_noticed(tmp_path: Path, name: str, damage: str) -> None:
    DAMAGES[damage](_two(tmp_path) / name)
    _assert_passed_over(tmp_path, name)


def _with_manifest(path: Path, **changed: object) -> None:
    """Change files, and the manifest with them, as somebody would who wants it to be read."""
    manifest = json.loads((path / "MANIFEST.json").read_text())
    for name in FILES[:2]:
        content = (path / name).read_bytes()
        manifest["files"][name] = {
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    (path / "MANIFEST.json").write_text(json.dumps(manifest | changed))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"format": 2}, "not a manifest"),
        ({"step": 10}, "the manifest of another checkpoint, step 10"),
        ({"step": "20"}, "not a manifest"),
        ({"files": {}}, "names other files than a checkpoint has"),
        ({"files": {name: {"size": 10**18, "sha256": ""} for name in FILES[:2]}}, "were written"),
        ({"more": 1}, "not a manifest"),
    ],
)
def test_an_odd_manifest_is_noticed(tmp_path: Path, changed: dict[str, Any], why: str) -> None:
    _with_manifest(_two(tmp_path), **changed)
    _assert_passed_over(tmp_path, why)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        (FILES[0], b"\x80\x02.", "pickle"),
        (FILES[0], b"\xff" * 64, "truncated"),
        (FILES[0], to_safetensors({"a": torch.tensor([float("nan")])}), "holds NaN"),
        (FILES[1], b'{"step": 10, "state": {}}', "not the state of step 20"),
        (FILES[1], b'{"step": 20, "state": []}', "not the state of step 20"),
        (FILES[1], b'{"step": 20, "state": {"lr": NaN}}', "NaN"),
    ],
)
def test_content_is_suspected_even_where_the_digests_agree(
    tmp_path: Path, name: str, content: bytes, why: str
) -> None:
    path = _two(tmp_path)
    (path / name).write_bytes(content)
    _with_manifest(path)
    _assert_passed_over(tmp_path, why)


def test_a_checkpoint_under_the_name_of_another_step_is_noticed(tmp_path: Path) -> None:
    save(tmp_path, _checkpoint(10), keep=2)
    shutil.copytree(tmp_path / "checkpoint-00000010", tmp_path / "checkpoint-00000020")
    _assert_passed_over(tmp_path, "the manifest of another checkpoint, step 10")


def test_a_file_in_the_place_of_a_checkpoint_is_noticed_and_replaced(tmp_path: Path) -> None:
    save(tmp_path, _checkpoint(10), keep=2)
    (tmp_path / "checkpoint-00000020").touch()
    _assert_passed_over(tmp_path)
    save(tmp_path, _checkpoint(20), keep=2)
    _assert_same(_newest(tmp_path)[0], _checkpoint(20))


def test_when_all_are_damaged_each_gets_a_line(tmp_path: Path) -> None:
    _two(tmp_path)
    for path in tmp_path.glob("*/state.json"):
        path.unlink()
    found, said = _newest(tmp_path)
    assert found is None
    assert [line.split()[0] for line in said] == ["checkpoint-00000020", "checkpoint-00000010"]


def test_damaged_checkpoints_do_not_count_among_those_kept(tmp_path: Path) -> None:
    _two(tmp_path)
    shutil.copytree(tmp_path / "checkpoint-00000020", tmp_path / "checkpoint-00000040")
    (tmp_path / "checkpoint-00000020" / "state.json").unlink()
    save(tmp_path, _checkpoint(30), keep=2)
    assert _names(tmp_path) == ["checkpoint-00000010", "checkpoint-00000030"]


def test_a_folder_that_cannot_be_listed_is_not_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(CheckpointError, match="cannot be listed"):
        _newest(tmp_path / "run")


# Errors of the disk, at every call that can have one.


class Fault:
    """Let the n-th of these calls fail, or every one from it on, or end the process there."""

    def __init__(self, at: int, *, number: int | None, lasting: bool = False) -> None:
        self.left, self.number, self.lasting = at, number, lasting
        self.struck = False

    def install(self, patch: pytest.MonkeyPatch, calls: list[str]) -> None:
        for name in calls:
            patch.setattr(os, name, self._failing(getattr(os, name)))

    def _failing(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:  # noqa: ANN401
            self.left -= 1
            if self.left == 0 or (self.lasting and self.left < 0):
                self.struck = True
                if self.number is None:
                    os._exit(9)
                raise OSError(self.number, os.strerror(self.number))
            return real(*given, **named)

        return call


def _nothing(folder: Path) -> list[Checkpoint]:
    del folder
    return []


def _an_earlier_one(folder: Path) -> list[Checkpoint]:
    save(folder, _checkpoint(10), keep=1)
    return [_checkpoint(10)]


def _one_of_the_same_step(folder: Path) -> list[Checkpoint]:
    save(folder, _checkpoint(20, note="former"), keep=1)
    return [_checkpoint(20, note="former")]


def _a_damaged_one_of_the_same_step(folder: Path) -> list[Checkpoint]:
    (_two(folder) / FILES[0]).write_bytes(b"")
    return [_checkpoint(10)]


def _one_that_was_being_replaced(folder: Path) -> list[Checkpoint]:
    path = save(folder, _checkpoint(20, note="former"), keep=1)
    path.rename(folder / ".checkpoint-00000020.aside")
    return [_checkpoint(20, note="former")]


SCENES = [
    _nothing,
    _an_earlier_one,
    _one_of_the_same_step,
    _a_damaged_one_of_the_same_step,
    _one_that_was_being_replaced,
]


def _assert_old_or_new(folder: Path, old: list[Checkpoint], *, saved: bool) -> None:
    """Nothing is lost, and the next save leaves nothing but checkpoints."""
    found, _ = _newest(folder)
    new = _checkpoint(20)
    if saved or (found is not None and (found.step, found.state) == (new.step, new.state)):
        _assert_same(found, new)
    elif old:
        _assert_same(found, old[0])
    else:
        assert found is None
    save(folder, _checkpoint(30), keep=1)
    assert _names(folder) == ["checkpoint-00000030"]
    _assert_same(_newest(folder)[0], _checkpoint(30))


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])
def test_an_error_of_the_disk_at_any_call_loses_nothing(
    tmp_path: Path, scene: Callable[[Path], list[Checkpoint]], number: int, *, lasting: bool
) -> None:
    struck, at = True, 0
    while struck:
        at += 1
        folder = tmp_path / str(at)
        old = scene(folder)
        fault = Fault(at, number=number, lasting=lasting)
        saved = True
        with pytest.MonkeyPatch.context() as patch:
            fault.install(patch, CHANGING + REMOVING * (not lasting))
            try:
                save(folder, _checkpoint(20), keep=1)
            except CheckpointError as error:
                saved = False
                assert "not saved: " in str(error)  # noqa: PT017
        struck = fault.struck
        _assert_old_or_new(folder, old, saved=saved)
    assert at > 12


def test_what_did_not_reach_the_disk_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, _checkpoint(10), keep=1)
    write = os.write

    def lossy(descriptor: int, content: memoryview) -> int:
        write(descriptor, bytes(content).replace(b"2", b"3"))
        return len(content)

    monkeypatch.setattr(os, "write", lossy)
    with pytest.raises(CheckpointError, match="what was read back is not what was written"):
        save(tmp_path, _checkpoint(20), keep=1)
    assert _names(tmp_path) == ["checkpoint-00000010"]


def test_a_write_that_takes_only_a_part_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: write(descriptor, content[:100]))
    save(tmp_path, _checkpoint(10), keep=1)
    _assert_same(_newest(tmp_path)[0], _checkpoint(10))


def _forked(work: Callable[[], object]) -> int:
    """Run something in a copy of this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # no other thread holds a lock
        pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


@posix
@pytest.mark.parametrize("scene", SCENES)
def test_a_process_that_ends_before_any_call_loses_nothing(
    tmp_path: Path, scene: Callable[[Path], list[Checkpoint]], monkeypatch: pytest.MonkeyPatch
) -> None:
    struck, at = True, 0
    while struck:
        at += 1
        folder = tmp_path / str(at)
        old = scene(folder)

        def work(folder: Path = folder, at: int = at) -> None:
            Fault(at, number=None).install(monkeypatch, CHANGING + REMOVING)
            save(folder, _checkpoint(20), keep=1)

        struck = os.waitstatus_to_exitcode(os.waitpid(_forked(work), 0)[1]) == 9
        _assert_old_or_new(folder, old, saved=not struck)
    assert at > 12


@posix
def test_a_process_killed_at_any_moment_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    chosen = random.Random(0)  # noqa: S311

    def work() -> None:
        found = newest(tmp_path, say=lambda _: os._exit(1))
        step = found.step if found else 0
        while True:
            step += 1
            save(tmp_path, _checkpoint(step, size=128), keep=2)

    save(tmp_path, _checkpoint(1, size=128), keep=2)
    reached = [1]
    for _ in range(15):
        before = _names(tmp_path)
        pid, deadline = _forked(work), time.monotonic() + 30
        while _names(tmp_path) == before and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(chosen.uniform(0, 0.04))
        os.kill(pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        found, said = _newest(tmp_path)
        assert said == []
        assert found is not None
        _assert_same(found, _checkpoint(found.step, size=128))
        reached.append(found.step)
    assert reached == sorted(reached)
    assert reached[-1] > 1
    save(tmp_path, _checkpoint(10**6), keep=1)
    assert _names(tmp_path) == ["checkpoint-01000000"]


Usage = namedtuple("Usage", "total used free")  # noqa: PYI024  (that of shutil)


def test_a_disk_without_room_is_noticed_before_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, _checkpoint(10), keep=1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9, 100_000))
    with pytest.raises(CheckpointError) as caught:
        save(tmp_path, _checkpoint(20, size=256), keep=1)
    assert str(caught.value) == (
        f"{tmp_path}/checkpoint-00000020: not saved: the disk is full: 0.4 MB needed, 0.1 MB free; "
        "the last good checkpoint, checkpoint-00000010, is kept, and --resume continues from it"
    )
    assert _names(tmp_path) == ["checkpoint-00000010"]
    with pytest.raises(CheckpointError, match="no earlier checkpoint is there"):
        save(tmp_path / "other", _checkpoint(20, size=256), keep=1)


def test_what_a_killed_process_left_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = tmp_path / ".checkpoint-00000010.0123abcd.tmp"
    stale.mkdir()
    (stale / FILES[0]).write_bytes(b"\0" * 1000)
    assert _newest(tmp_path) == (None, [])

    def usage(_: Path) -> Usage:
        return Usage(10**9, 0, 0 if stale.exists() else 10**9)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    save(tmp_path, _checkpoint(10), keep=1)
    assert _names(tmp_path) == ["checkpoint-00000010"]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_everything_is_on_the_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync, rename = os.fsync, os.rename

    def noted_fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def noted_rename(source: Path, target: Path) -> None:
        rename(source, target)
        synced.append(f"renamed to {Path(target).name}")

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "rename", noted_rename)
    save(tmp_path, _checkpoint(10), keep=1)
    assert synced[:3] == FILES
    assert synced[3].startswith(".checkpoint-00000010.")
    assert synced[4:] == ["renamed to checkpoint-00000010", tmp_path.name]
