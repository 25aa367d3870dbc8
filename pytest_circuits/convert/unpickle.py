"""The script that opens a pickled file, in a process of its own that is good for nothing else.

`reader.py` runs it by its path, isolated, with the file as standard input; it writes the tensors as
safetensors. It imports nothing of the package, and nothing of the package imports it. Three walls
stand between the file and the machine: torch's unpickler that builds tensors and plain containers
alone, a process without network whose memory, time and files are limited, and an audit hook that
ends it at the first attempt to start a program, open a connection or write a file.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

if TYPE_CHECKING:
    from torch import Tensor

REFUSED = 3  # exit status; the reason stands on standard error
_MOST_VALUES = 200_000
_DEEPEST = 12
_LONGEST = 4096  # characters of a text
_SPARE_BYTES = 4 * 2**30  # of memory, beside what the file takes: the interpreter and torch
_FORBIDDEN = (
    *("socket.", "subprocess.", "ctypes.", "pty.", "shutil.", "urllib.", "http.", "ftplib."),
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.startfile", "os.kill"),
    *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate"),
    *("os.chmod", "os.chown", "os.putenv"),
)


def main(out: str, max_bytes: int, keep: list[str], folders: list[str]) -> None:
    """Write `out`, or end the process with a reason."""
    _limit(max_bytes)
    _leave_the_network()
    file = sys.stdin.buffer
    _check_archive(file, max_bytes)
    sys.path.extend(folders)  # after everything else: where the parent found torch
    sys.dont_write_bytecode = True  # what torch imports while it reads is no deed of the file
    import torch  # noqa: PLC0415  (after the limits)
    from safetensors.torch import save_file  # noqa: PLC0415

    sys.addaudithook(_refuse_deeds)
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001  (whatever a hostile file provokes)
        _refuse(_why(error))
    tensors: dict[str, Tensor] = {}
    values: dict[str, Any] = {}
    for path in keep or [""]:
        part = _at(content, path)
        if part is not None:
            _flatten(part, path, tensors, values)
    plain = _plain(tensors, max_bytes)
    save_file(plain, out, metadata={"values": json.dumps(values, allow_nan=False)})


def _refuse(reason: str) -> NoReturn:
    sys.stderr.write(reason)
    sys.stderr.flush()
    os._exit(REFUSED)  # no cleanup that could run anything


def _limit(max_bytes: int) -> None:
    with suppress(ImportError, ValueError, OSError):  # systems without such limits
        import resource  # noqa: PLC0415

        for kind, most in (
            (resource.RLIMIT_DATA, _SPARE_BYTES + 4 * max_bytes),
            (resource.RLIMIT_FSIZE, max_bytes + 2**26),
            (resource.RLIMIT_CORE, 0),
        ):
            resource.setrlimit(kind, (most, most))


def _leave_the_network() -> None:
    """Move to an empty network namespace, where the system lets anybody do that."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).unshare(0x40000000 | 0x10000000)  # CLONE_NEWNET | CLONE_NEWUSER


def _refuse_deeds(event: str, arguments: tuple[object, ...]) -> None:
    writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & writes:
        _refuse("tried to write a file while it was read")
    if event.startswith(_FORBIDDEN):
        _refuse(f"tried to do something while it was read ({event})")


def _check_archive(file: BinaryIO, max_bytes: int) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            records = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        _refuse(f"not a whole zip archive, which is what torch.save writes: {error}")
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        _refuse("its records are compressed, which torch.save does not do")
    size = sum(record.file_size for record in records)
    if size > max_bytes:
        _refuse(f"its records of {size:,} bytes are over the {max_bytes:,} that it can need")
    file.seek(0)


def _why(error: Exception) -> str:
    """The reason without torch's advice to load the file in the unsafe way."""
    asked = re.search(r"(?:GLOBAL|Unsupported (?:class|global):?) `?([\w.]+)", str(error))
    if asked:
        return (
            f"its pickle asks for {asked[1]}, which is not a tensor or a plain container and could "
            "run any code; it was not run"
        )
    first = " ".join(str(error).split())[:200]
    return f"damaged, or not tensors and plain containers: {type(error).__name__}: {first}"


def _at(content: object, path: str) -> object:
    """The part of nested containers that a path of keys and indexes leads to, or None."""
    for key in filter(None, path.split("/")):
        if isinstance(content, dict):
            content = content.get(key)
        elif isinstance(content, list | tuple) and key.isdigit() and int(key) < len(content):
            content = content[int(key)]
        else:
            return None
    return content


def _flatten(
    value: object, path: str, tensors: dict[str, Tensor], values: dict[str, Any], depth: int = 0
) -> None:
    """Containers as paths: tensors into one dict, numbers, truth values and texts into another."""
    import torch  # noqa: PLC0415

    if depth > _DEEPEST or len(tensors) + len(values) > _MOST_VALUES:
        _refuse("nested deeper, or holds more values, than such a file can need")
    if type(value) in {torch.Tensor, torch.nn.Parameter}:
        tensors[path] = value  # type: ignore[assignment]
        return
    if not isinstance(value, dict | list | tuple):
        values[path] = _scalar(value, path)
        return
    if _are_numbers(value):
        tensors[path] = torch.tensor(value)
        return
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in parts:
        if not isinstance(key, str | int):
            _refuse(f"{path or 'it'} has a key that is neither a text nor a whole number")
        _flatten(part, f"{path}/{key}".lstrip("/"), tensors, values, depth + 1)


def _are_numbers(value: object) -> bool:
    if not isinstance(value, list | tuple) or not value:
        return False
    return all(type(part) is int and abs(part) < 2**63 for part in value)


def _scalar(value: object, path: str) -> object:
    if isinstance(value, str):
        return value[:_LONGEST]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float):
        return value
    _refuse(f"{path or 'it'} is a {type(value).__name__}, not tensors and plain containers")


def _plain(tensors: Mapping[str, Tensor], max_bytes: int) -> dict[str, Tensor]:
    """Dense tensors that share no memory; a view that pretends to be huge is never written out."""
    import torch  # noqa: PLC0415

    plain: dict[str, Tensor] = {}
    seen: set[int] = set()
    size = 0
    for name, tensor in tensors.items():
        odd = tensor.layout is not torch.strided or tensor.device.type != "cpu"
        if odd or tensor.is_quantized or tensor.is_complex():
            _refuse(f"tensor {name!r} is {tensor.layout}, {tensor.dtype}; dense ones are supported")
        size += tensor.numel() * tensor.element_size()
        if size > max_bytes:
            _refuse(f"its tensors are over the {max_bytes:,} bytes that it can need")
        dense = tensor.detach().contiguous()
        storage = dense.untyped_storage().data_ptr()
        plain[name] = dense.clone() if storage in seen else dense
        seen.add(storage)
    return plain


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4:])
