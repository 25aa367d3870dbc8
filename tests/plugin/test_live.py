"""Which claim is at work is told on a terminal, and nowhere else."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugin.conftest import Repository

ROOT = Path(__file__).parents[2]


def on_a_terminal(repository: Repository, *options: str, term: str = "xterm") -> str:
    """What `pytest --circuits` writes to a terminal."""
    repository.write_good_spec(claims=("behaves", "sufficient"))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "pytest", "--circuits", "-p", "no:cacheprovider", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": term, "NO_COLOR": "1"}
    with subprocess.Popen(
        command, cwd=repository.path, env=environment, stdout=theirs, stderr=theirs
    ) as run:
        os.close(theirs)
        found = b""
        while piece := _read(ours):
            found += piece
    os.close(ours)
    assert run.returncode == 0, found.decode()
    return found.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other end is closed
        return b""


def test_the_claim_at_work_stands_behind_the_dots_until_it_is_done(repository: Repository) -> None:
    text = on_a_terminal(repository)

    told = re.findall(r"\x1b7\x1b\[\?7l  (.*?)\x1b\[\?7h(.)", text, re.DOTALL)
    assert told == [
        ("1 of 2, quote_close: behaves", "\x1b"),
        ("2 of 2, quote_close: sufficient", "\x1b"),
    ]
    # What pytest writes follows the end of each, at the place where it began.
    assert re.findall(r"\x1b\[\?7h\x1b8\x1b\[K(.)", text) == [".", "."]
    assert "gate: PASS" in text


@pytest.mark.parametrize(("options", "term"), [(("-v",), "xterm"), ((), "dumb")])
def test_where_pytest_names_it_or_the_terminal_cannot_nothing_is_told(
    repository: Repository, options: tuple[str, ...], term: str
) -> None:
    assert "\x1b7" not in on_a_terminal(repository, *options, term=term)


def test_what_is_no_terminal_gets_none_of_it(repository: Repository) -> None:
    repository.write_good_spec(claims=("behaves",))
    result = repository.gate()
    assert "\x1b" not in str(result.stdout)
    assert "\x1b" not in str(result.stderr)
