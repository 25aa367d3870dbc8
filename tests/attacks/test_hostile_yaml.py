"""Files made to hang, exhaust or crash a YAML reader, each tried in a guarded child process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 60  # for all files together; each takes less than two
CHILD = """
import json, resource, sys, time
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
from pytest_circuits.errors import SpecError
from pytest_circuits.spec.load import load_spec
for path in sorted(Path(sys.argv[1]).iterdir()):
    start = time.process_time()
    try:
        load_spec(path)
        said = ["loaded"]
    except SpecError as error:
        said = [line.removeprefix(str(path)) for line in str(error).splitlines()]
    print(json.dumps([path.name, said, time.process_time() - start]), flush=True)
"""
MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 9)
)
ALIAS_BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)
ATTACKS = {
    "brackets": (b"[" * 100_000, ":1:33: nested deeper than 32 levels"),
    "braces": (b"{a: " * 100_000, ":1:129: nested deeper than 32 levels"),
    "dashes": (b"- " * 100_000, ":1:65: nested deeper than 32 levels"),
    "merge_bomb": (MERGE_BOMB.encode(), ":1:5: anchors ('&a0') are not read; remove it"),
    "alias_bomb": (ALIAS_BOMB.encode(), ":1:5: anchors ('&a0') are not read; remove it"),
    "recursive": (b"version: &a [*a]", ":1:10: anchors ('&a') are not read; remove it"),
    "code": (
        b"version: !!python/object/apply:os.system ['false']",
        ":1:10: tags ('!!python/object/apply:os.system') are not read; remove it",
    ),
    "long_scalar": (
        b"version: " + b"x" * 200_000,
        ":1:10: a text of more than 65,536 characters",
    ),
    "long_key": (b"k" * 200_000 + b": 1", ":1:1: a text of more than 65,536 characters"),
    "long_number": (b"version: " + b"9" * 60_000, ":1:10: a number of more than 300 digits"),
    "many_values": (b"- 1\n" * 200_000, ":20000:3: more than 20,000 values; split the file"),
    "many_keys": (
        b"".join(b"k%d: 1\n" % n for n in range(9_000)),
        ":1:1: 'version' is missing; it must be 1",
    ),
    "many_duplicates": (b"k: 1\n" * 9_000, ":1:1: 'version' is missing; it must be 1"),
    "many_directives": (b"%A b\n" * 50_000, ":50001:1: not YAML: text after the end"),
    "folded_lines": (b'"' + b"a\n" * 100_000, ":100001:1: not YAML: a quoted text"),
    "huge_escape": (b'version: "\\UFFFFFFFF"', ":1:13: an escape or directive out of range"),
    "huge_directive": (b"%YAML " + b"9" * 9_000 + b".1\n--- 1", ":1:7: an escape or directive"),
    "nul": (b"version: \0", ":1:10: the character '\\x00' cannot stand in YAML"),
    "not_utf_8": (b"version: \xff", ":1:10: not UTF-8 text; save the file as UTF-8"),
    "utf_16": ("version: 1".encode("utf-16"), ":1:1: not UTF-8 text; save the file as UTF-8"),
    "too_large": (b"#" * 2**21, ": larger than 1048576 bytes"),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[list[str], float]]:
    """What the child says of each file and how long it took, as far as the child lived."""
    folder = tmp_path_factory.mktemp("attacks")
    for name, (content, _) in ATTACKS.items():
        (folder / name).write_bytes(content)
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(folder)],
        capture_output=True,
        check=False,
        text=True,
        timeout=SECONDS,
    )
    answered = map(json.loads, child.stdout.splitlines())
    return {name: (said, seconds) for name, said, seconds in answered}


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_a_hostile_file_is_refused_soon_and_by_name(
    answers: dict[str, tuple[list[str], float]], name: str
) -> None:
    said, seconds = answers[name]

    assert any(line.startswith(ATTACKS[name][1]) for line in said)
    assert seconds < 10


def test_a_pipe_cannot_make_the_loader_wait(tmp_path: Path) -> None:
    folder = tmp_path / "attacks"
    folder.mkdir()
    subprocess.run(["/usr/bin/env", "mkfifo", str(folder / "pipe")], check=True)

    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(folder)],
        capture_output=True,
        check=True,
        text=True,
        timeout=SECONDS,
    )

    assert json.loads(child.stdout)[:2] == ["pipe", [": not a regular file"]]
