"""The rules of the house: imports point one way, and the tools find nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "pytest_circuits"

# Each part may import the parts after it in its own line, and nothing else of the package.
LAYERS = {
    "discover": set(),
    "errors": set(),
    "files": {"errors"},
    "lock": {"errors", "files"},
    "progress": set(),
    "stopping": set(),
    "spec": {"errors", "files"},
    "prompts": {"errors", "spec"},
    "changes": {"prompts", "spec"},
    "model": {"errors", "files", "progress", "spec"},
    "circuit": {"errors", "model", "prompts", "spec"},
    "claims": {"changes", "circuit", "errors", "files", "model", "prompts", "prune", "spec"},
    "plan": {"changes", "circuit", "claims", "model", "prompts", "spec"},
    "prune": {
        "circuit",
        "errors",
        "files",
        "lock",
        "model",
        "progress",
        "prompts",
        "spec",
        "stopping",
    },
    "diff": {"circuit", "claims", "discover", "errors", "files", "model", "prompts", "spec"},
    "show": {"circuit", "errors", "model", "prompts", "spec"},
    "train": {
        "circuit",
        "errors",
        "files",
        "lock",
        "model",
        "progress",
        "prompts",
        "spec",
        "stopping",
    },
    "convert": {"errors", "files", "model", "progress", "spec"},
    "report": {"claims", "errors", "files", "spec"},
    "gate": {
        "circuit",
        "claims",
        "discover",
        "errors",
        "files",
        "model",
        "prompts",
        "report",
        "spec",
    },
    "plugin": {"gate"},
    "__main__": {"cli"},
    "cli": {"convert", "diff", "errors", "model", "plan", "prune", "show", "spec", "train"},
}


# The script that opens pickled files, in a process of its own: the only module that may name the
# function that does, and one that no module imports.
UNPICKLER = PACKAGE / "convert" / "unpickle.py"


def _part(module: str) -> str | None:
    pieces = module.split(".")
    if pieces[0] != "pytest_circuits" or len(pieces) == 1:
        return None
    return pieces[1]


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value.split(":")[0]] if node.value.startswith("pytest_circuits.") else []
        found |= {part for name in names if (part := _part(name)) is not None}
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_imports_point_one_way(path: Path) -> None:
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if part == "__init__":
        return
    allowed = LAYERS[part] | {part}
    assert _imports(path) <= allowed


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_nothing_unpickles_and_no_module_is_long(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    banned = {"torch.load", "import pickle", "allow_pickle", "from _pytest", "import _pytest"}
    if path == UNPICKLER:
        assert text.count("torch.load(") == text.count("weights_only=True") == 1
        banned -= {"torch.load"}
    assert not [words for words in banned if words in text]
    assert text.count("\n") <= 400


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_nothing_imports_the_unpickler_and_it_imports_nothing_of_ours(path: Path) -> None:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    assert not [name for name in names if UNPICKLER.stem in name.split(".")]
    assert path != UNPICKLER or not [name for name in names if name.startswith("pytest_circuits")]


@pytest.mark.parametrize(
    "arguments",
    [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]],
    ids=lambda arguments: "-".join(arguments[:2]),
)
def test_the_tools_find_nothing(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
