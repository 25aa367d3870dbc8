"""Runs the blocks of a page in order, in a folder that looks like a clone."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from pytest_circuits.spec.load import parse_spec, read_as
from pytest_circuits.train.bridge.config import BridgeConfig
from pytest_circuits.train.config import TrainConfig
from tests.docs.pages import ROOT, Block

OURS = {"pytest": "pytest", "pytest-circuits": "pytest_circuits"}  # commands and their modules
# What a reader of the pages makes in the folder of the tutorial.
MADE = ("model", "tuned", "shortcut", "quote_close.baseline.yaml")
SHELL = ("|", ">", "<", "&&", "$(", ";")  # what only a shell understands
SPEC = """
version: 1
circuit: fragment
model: model
behavior: {prompt: "{cue}", contrast: {cue: {a: b, c: d}}}
ablation: mean
claims: {behaves: {rate: 0.9}}
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@dataclass(slots=True)
class Clone:
    """A folder with what a clone has, and the place in it where commands run."""

    top: Path
    run: Run  # as `subprocess.run`, for a command that begins with the interpreter
    at: Path

    def execute(self, block: Block) -> None:
        """Do what a block says; AssertionError, which names its line, where that is not so."""
        if block.mark == "file":
            path = self.top / block.value
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        if block.mark == "below":
            line, _, name = block.value.partition(" in ")
            before, found, after = (self.top / name).read_text("utf-8").partition(f"{line}\n")
            assert found, f"{block.place}: {name} has no line {line!r}"
            (self.top / name).write_text(before + found + block.text + after, encoding="utf-8")
        if block.mark == "begins":
            text = (ROOT / block.value).read_text(encoding="utf-8")
            assert text.startswith(block.text), f"{block.place}: {block.value} says something else"
        elif block.mark == "part of":
            KINDS[block.value](block, self)
        elif block.language == "python" and block.mark != "file":
            self._runs(block, f"{shlex.quote(sys.executable)} -c {shlex.quote(block.text)}", None)
        elif block.language == "toml":
            tomllib.loads(block.text)
        elif block.language in {"console", "sh"}:
            steps = list(_steps(block))
            for number, (command, wanted) in enumerate(steps, 1):
                last = number == len(steps) and block.mark == "exits"
                self._runs(block, command, wanted, status=int(block.value) if last else 0)

    def _runs(self, block: Block, command: str, wanted: str | None, *, status: int = 0) -> None:
        if command.startswith("cd "):
            self.at = self.at / command[3:].strip()
            return
        done = self._done(command)
        said = f"{block.place}: {command}\n"
        shown = done.stdout + done.stderr
        assert done.returncode == status, f"{said}ended with {done.returncode}\n{shown}"
        shown = done.stdout or shown  # without progress, which goes to stderr
        lacking = None if wanted is None else first_wrong(wanted, shown)
        assert lacking is None, f"{said}not as shown from here: {lacking!r}, but\n{shown}"

    def _done(self, command: str) -> subprocess.CompletedProcess[str]:
        words = shlex.split(command)
        if words[0] in {*OURS, "python", sys.executable} and not any(s in command for s in SHELL):
            module = ["-m", OURS[words[0]]] if words[0] in OURS else []
            words = [word for given in words[1:] for word in self._globbed(given)]
            return self.run([sys.executable, *module, *words], cwd=self.at, timeout=300)
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return subprocess.run(
            [shutil.which("bash") or "bash", "-euo", "pipefail", "-c", command],
            cwd=self.at,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PATH": path},
        )

    def _globbed(self, word: str) -> list[str]:
        found = sorted(self.at.glob(word)) if "*" in word else []
        return [str(path.relative_to(self.at)) for path in found] or [word]


def clone(top: Path, run: Run) -> Clone:
    made = shutil.ignore_patterns("models", "zoo", *MADE)
    shutil.copytree(ROOT / "circuits", top / "circuits")
    shutil.copytree(ROOT / "examples", top / "examples", ignore=made)
    for model in ("plainpython", "tinypython"):
        shutil.copytree(ROOT / "models" / model, top / "models" / model)
    shutil.copy(ROOT / "pyproject.toml", top)  # settings of pytest, which hold below it too
    return Clone(top, run, top)


def first_wrong(wanted: str, shown: str) -> str | None:
    """The first line of a page that what is printed does not have, or that has more after it."""
    lines = wanted.splitlines(keepends=True)
    for count, line in enumerate(lines, 1):
        if not matches("".join([*lines[:count], "...\n"]), shown):
            return line
    return None if matches(wanted, shown) else lines[-1]


def matches(wanted: str, shown: str) -> bool:
    """Whether lines are as a page shows them, whatever the width of what is between two words.

    A line `...` stands for any lines, or none; `...` in a line for anything in it.
    """
    pattern = ""
    for line in wanted.splitlines():
        words = re.escape(" ".join(line.split())).replace(r"\.\.\.", ".*")
        pattern += r"(?:.*\n)*?" if line.strip() == "..." else rf"{words}\n"
    lines = (" ".join(line.split()) for line in shown.splitlines())
    return bool(re.fullmatch(pattern, "".join(f"{line}\n" for line in lines)))


def _steps(block: Block) -> Iterator[tuple[str, str | None]]:
    """Commands of a block, each with the output that is shown; None: none is shown."""
    lines = block.text.replace("\\\n", "").splitlines()
    if block.language == "sh":
        yield from ((line, None) for line in lines if line and not line.startswith("#"))
        return
    starts = [n for n, line in enumerate(lines) if line.startswith("$ ")]
    assert starts, f"{block.place}: no line begins with '$ '"
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        wanted = "\n".join(lines[start + 1 : end])
        yield lines[start][2:], f"{wanted}\n" if wanted else None


def _specification(block: Block, _: Clone) -> None:
    whole = {**yaml.safe_load(SPEC), **yaml.safe_load(block.text)}
    parse_spec(yaml.safe_dump(whole), path=block.page)


def _training(block: Block, clone: Clone, *, kind: type = TrainConfig) -> None:
    path = clone.top / "fragment.train.yaml"
    path.write_text(block.text, encoding="utf-8")
    read_as(path, kind)


KINDS: dict[str, Callable[[Block, Clone], Any]] = {
    "a specification": _specification,
    "a training": _training,
    "a bridge": partial(_training, kind=BridgeConfig),
}
