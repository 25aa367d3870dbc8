"""One process a folder of state."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_circuits.errors import UsageError
from pytest_circuits.system.lock import hold

HOLDER = """\
import sys
from pathlib import Path
from pytest_circuits.system.lock import hold
with hold(Path(sys.argv[1])):
    print("holds", flush=True)
    sys.stdin.read()
"""


@contextmanager
def _other_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "holds\n"
            yield process
        finally:
            process.kill()


def _is_free(folder: Path) -> bool:
    try:
        with hold(folder):
            return True
    except UsageError:
        return False


def test_another_process_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    with _other_process(tmp_path / "run") as process:
        with pytest.raises(UsageError) as caught, hold(tmp_path / "run"):
            pass
        message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'run'}: another run is training here: ")
    assert f"pid {process.pid} on {socket.gethostname()}" in message
    assert "name another --out" in message


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    with _other_process(tmp_path) as process:
        assert not _is_free(tmp_path)
        process.kill()
        process.wait()
        assert _is_free(tmp_path)


def test_a_process_that_ends_leaves_no_lock(tmp_path: Path) -> None:
    with _other_process(tmp_path) as process:
        process.communicate()
        assert process.returncode == 0
        assert _is_free(tmp_path)


def test_it_holds_against_threads_and_against_itself(tmp_path: Path) -> None:
    found = []
    with hold(tmp_path):
        assert not _is_free(tmp_path)
        thread = threading.Thread(target=lambda: found.append(_is_free(tmp_path)))
        thread.start()
        thread.join()
    assert found == [False]
    assert _is_free(tmp_path)


def test_an_error_inside_releases_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="of the body"), hold(tmp_path):
        raise ValueError("of the body")
    assert _is_free(tmp_path)


def test_other_folders_are_free(tmp_path: Path) -> None:
    with hold(tmp_path / "a"):
        assert _is_free(tmp_path / "b")


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"pid": "x"}', "\0" * 9000])
def test_a_holder_that_has_not_said_who_it_is(tmp_path: Path, content: str) -> None:
    with hold(tmp_path):
        (tmp_path / "lock").write_text(content)
        with pytest.raises(UsageError, match="a process that has not said who it is"):
            hold(tmp_path).__enter__()


def test_what_a_former_holder_left_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("x" * 5000)
    with hold(tmp_path):
        assert f'"pid": {os.getpid()}}}' in (tmp_path / "lock").read_text()
    assert _is_free(tmp_path)


def test_a_lock_that_cannot_be_opened_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(UsageError, match="cannot be written"):
        hold(tmp_path).__enter__()


def test_a_lock_that_its_holder_has_removed_is_taken_anew(tmp_path: Path) -> None:
    with hold(tmp_path / "run"):
        shutil.rmtree(tmp_path / "run")
        with hold(tmp_path / "run"):
            assert not _is_free(tmp_path / "run")
        assert _is_free(tmp_path / "run")


def test_a_lock_that_is_removed_while_it_is_taken_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moment between the opening of the file and the lock on it."""
    take = fcntl.flock
    times = iter([True, False])

    def slow(descriptor: int, operation: int) -> None:
        if next(times):
            (tmp_path / ".lock").unlink()
        take(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", slow)
    with hold(tmp_path):
        monkeypatch.undo()
        assert not _is_free(tmp_path)
