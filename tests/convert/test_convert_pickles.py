"""A pickled file is read without running anything in it, or refused with one clear error."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pytest_circuits.convert import reader
from pytest_circuits.convert.reader import read_pickled
from pytest_circuits.errors import ModelError

MOST = 2**20
UNSHARE = shutil.which("unshare")


class Deed:
    """Something whose pickle calls a function when it is loaded."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def _saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.usefixtures("as_it_is")
def test_tensors_and_values_come_back_by_their_paths(tmp_path: Path) -> None:
    shared = torch.arange(6.0).view(2, 3)
    content = OrderedDict(
        a=shared,
        b={"tied": shared, "turned": shared.T, "list": [1, 2, 3], "name": "prune", 7: None},
        c=(torch.tensor(2), [0.5, float("nan"), True]),
        d=torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16)),
    )
    found = read_pickled(_saved(tmp_path / "x.pt", content), max_bytes=MOST)
    assert set(found.tensors) == {"a", "b/tied", "b/turned", "b/list", "c/0", "d"}
    assert torch.equal(found.tensors["b/turned"], shared.T)
    assert found.tensors["b/list"].tolist() == [1, 2, 3]
    assert found.tensors["d"].dtype is torch.bfloat16
    assert found.values == {
        "b/name": "prune",
        "b/7": None,
        "c/1/0": 0.5,
        "c/1/1": None,
        "c/1/2": True,
    }
    assert len(found.sha256) == 64


def test_only_the_parts_that_are_asked_for_are_kept(tmp_path: Path) -> None:
    content = {"a": {"b": [torch.ones(1), torch.tensor([float("inf")])]}, "c": 1}
    path = _saved(tmp_path / "x.pt", content)
    found = read_pickled(path, max_bytes=MOST, keep=["a/b/0", "c", "a/x/y", "a/b/9"])
    assert list(found.tensors) == ["a/b/0"]
    assert found.values == {"c": 1}


@pytest.mark.usefixtures("as_it_is")
@pytest.mark.parametrize("forced", ["0", "1"])
def test_a_deed_in_a_pickle_is_refused_and_not_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forced: str
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", forced)
    mark = tmp_path / "done"
    path = _saved(tmp_path / "x.pt", {"a": torch.ones(1), "b": Deed(os.system, f"touch {mark}")})
    with pytest.raises(ModelError, match=r"x\.pt: its pickle asks for (posix|nt)\.system") as error:
        read_pickled(path, max_bytes=MOST)
    assert "weights_only" not in str(error.value)
    assert not mark.exists()


@pytest.mark.parametrize(
    "content",
    [
        {"a": Deed(eval, "1 + 1")},
        {"a": Deed(Path, "x")},
        {"a": {1, 2}},
        {"a": torch.ones(2).to_sparse()},
        {"a": torch.ones(2, dtype=torch.complex64)},
        {"a": torch.device("cpu")},
    ],
    ids=["eval", "path", "set", "sparse", "complex", "device"],
)
def test_what_is_no_tensor_or_plain_container_is_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(ModelError, match=r"x\.pt: .*(asks for|is a|is torch)"):
        read_pickled(_saved(tmp_path / "x.pt", content), max_bytes=MOST)


def _truncated(whole: bytes) -> bytes:
    return whole[: len(whole) * 2 // 3]


def _compressed(whole: bytes) -> bytes:
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(whole)) as source,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for record in source.infolist():
            target.writestr(record.filename, source.read(record))
    return packed.getvalue()


def _other_archive(_whole: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as target:
        target.writestr("hello.txt", "hello")
    return packed.getvalue()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_truncated, "not a whole zip archive"),
        (lambda _: b"", "not a whole zip archive"),
        (lambda _: b"\x80\x04K\x01.", "not a whole zip archive"),
        (_compressed, "its records are compressed"),
        (_other_archive, "damaged, or not tensors and plain containers"),
    ],
    ids=["truncated", "empty", "bare-pickle", "compressed", "other-archive"],
)
def test_a_damaged_file_is_refused(
    tmp_path: Path, damage: Callable[[bytes], bytes], said: str
) -> None:
    path = _saved(tmp_path / "x.pt", {"a": torch.ones(100)})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelError) as error:
        read_pickled(path, max_bytes=MOST)
    assert f"{path}: {said}" in str(error.value)


def test_a_view_that_pretends_to_be_huge_is_refused(tmp_path: Path) -> None:
    path = _saved(tmp_path / "x.pt", {"a": torch.ones(1).expand(10**6, 10**6)})
    with pytest.raises(ModelError, match="over the 1,048,576 bytes that it can need"):
        read_pickled(path, max_bytes=MOST)


def test_numbers_that_are_not_finite_are_refused_by_the_name_of_the_file(tmp_path: Path) -> None:
    path = _saved(tmp_path / "x.pt", {"a": torch.tensor([float("nan")])})
    with pytest.raises(ModelError) as error:
        read_pickled(path, max_bytes=MOST)
    assert str(error.value) == f"{path}: tensor 'a' holds NaN or infinity"


def test_large_absent_and_irregular_files_are_refused_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "subprocess", None)
    path = _saved(tmp_path / "x.pt", {"a": torch.ones(100)})
    with pytest.raises(ModelError, match="are over the 99 that it can need"):
        read_pickled(path, max_bytes=99)
    with pytest.raises(ModelError, match="cannot be read"):
        read_pickled(tmp_path / "absent.pt", max_bytes=MOST)
    with pytest.raises(ModelError, match="not a regular file"):
        read_pickled(tmp_path, max_bytes=MOST)


@pytest.mark.usefixtures("as_it_is")
def test_reading_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_SECONDS", 0.01)
    monkeypatch.setattr(reader, "_BYTES_PER_SECOND", 1e12)
    with pytest.raises(ModelError, match="took longer than"):
        read_pickled(_saved(tmp_path / "x.pt", {"a": torch.ones(1)}), max_bytes=MOST)


@pytest.mark.parametrize(
    "deed",
    [
        "import socket; socket.socket()",
        "import os; os.system('true')",
        "import subprocess; subprocess.run(['true'])",
        "open('x', 'w')",
        "import os; os.remove('x')",
    ],
)
def test_the_second_wall_ends_the_process_at_the_first_deed(tmp_path: Path, deed: str) -> None:
    script = Path(reader.__file__).with_name("unpickle.py")
    code = (
        f"import runpy, sys; names = runpy.run_path({str(script)!r})\n"
        f"sys.addaudithook(names['_refuse_deeds'])\n{deed}\nprint('done')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "while it was read" in done.stderr
    assert not done.stdout


@pytest.mark.skipif(UNSHARE is None, reason="no program that says whether namespaces are allowed")
def test_the_process_is_without_network_where_the_system_allows_it() -> None:
    script = Path(reader.__file__).with_name("unpickle.py")
    code = (
        f"import os, runpy; names = runpy.run_path({str(script)!r})\n"
        "before = os.readlink('/proc/self/ns/net'); names['_leave_the_network']()\n"
        "print(before != os.readlink('/proc/self/ns/net'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    allowed = subprocess.run([UNSHARE or "", "-rn", "true"], capture_output=True, check=False)
    assert done.stdout.strip() == str(allowed.returncode == 0)
