"""Tensors out of a pickled file, which this process never opens itself.

The file is read by `unpickle.py` in a subprocess; what comes back is safetensors, which is read
with the same suspicion as any other.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import safetensors
import torch
from torch import Tensor

from pytest_circuits.errors import ModelError
from pytest_circuits.model.tensor_file import MAX_HEADER_BYTES, read_tensors
from pytest_circuits.system.files import open_regular, parse_json

_SCRIPT = Path(__file__).with_name("unpickle.py")
_REFUSED = 3  # exit status of the script when it says why
_SECONDS = 120.0  # to start, and then by size
_BYTES_PER_SECOND = 5e6
_FOUND = (torch.__file__, safetensors.__file__)  # where the script finds them too
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")


@dataclass(frozen=True, slots=True)
class Pickled:
    """What a file holds, by path: `a/0/b` is the value at key `a`, index 0, key `b`."""

    tensors: dict[str, Tensor]
    values: dict[str, Any]  # numbers, truth values, texts and None
    sha256: str


def read_pickled(
    path: Path, *, max_bytes: int, keep: Sequence[str] = (), scratch: Path | None = None
) -> Pickled:
    """Read a file of `torch.save` without running anything in it; ModelError on any other file.

    max_bytes: the most that the file, and its tensors together, may have. keep: paths of the parts
    to read; all parts if there are none. scratch: a folder with room for a copy; default: the
    system's.
    """
    with (
        os.fdopen(open_regular(path, error=ModelError), "rb", buffering=0) as file,
        TemporaryDirectory(dir=scratch, prefix=".read.") as name,
    ):
        if (size := os.fstat(file.fileno()).st_size) > max_bytes:
            raise ModelError(
                f"{path}: its {size:,} bytes are over the {max_bytes:,} that it can need"
            )
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        out = Path(name).resolve() / "tensors.safetensors"
        _run(path, file, out, max_bytes=max_bytes, keep=keep)
        try:
            tensors, metadata = read_tensors(out, max_bytes=max_bytes + MAX_HEADER_BYTES)
        except ModelError as error:
            raise ModelError(str(error).replace(str(out), str(path))) from None
        text = str(metadata.get("values", "{}")).encode()
        return Pickled(tensors, parse_json(text, source=str(path), error=ModelError), digest)


def _run(path: Path, file: FileIO, out: Path, *, max_bytes: int, keep: Sequence[str]) -> None:
    folders = sorted({str(Path(file).resolve().parents[1]) for file in _FOUND if file})
    home = str(out.parent)
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment |= {"HOME": home, "TMPDIR": home, "OMP_NUM_THREADS": "1"}
    seconds = _SECONDS + max_bytes / _BYTES_PER_SECOND
    asked = [str(out), str(max_bytes), json.dumps(list(keep)), *folders]
    try:
        done = subprocess.run(  # noqa: S603  (our own script, by its path)
            [sys.executable, "-I", str(_SCRIPT), *asked],
            stdin=file,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            cwd=home,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ModelError(f"{path}: reading it took longer than {seconds:.0f} seconds") from None
    reason = done.stderr.strip()
    if done.returncode == _REFUSED:
        raise ModelError(f"{path}: {reason}")
    if done.returncode != 0:
        last = (reason.splitlines() or ["no message"])[-1][:300]
        raise ModelError(
            f"{path}: the process that reads it ended with status {done.returncode}: {last}"
        )
