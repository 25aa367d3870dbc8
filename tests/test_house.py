"""The rules of the house: the arrows and nevers of ARCHITECTURE.md, and what the tools find."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import pytest

from pytest_circuits.prune import stages
from pytest_circuits.train import course
from tests.slow import SLOW

ROOT = Path(__file__).parent.parent
PACKAGE = "pytest_circuits"
# What opens pickled files, in a process of its own: no module imports it, and it imports none.
UNPICKLER = f"{PACKAGE}.convert.unpickle"
PICKLES = ("torch.load", "import pickle", "allow_pickle")
LONGEST = 400
PLACES = (ROOT, ROOT / PACKAGE)  # that names of files in the map begin at


@cache
def files() -> dict[str, Path]:
    """Every module of the package by its name."""
    paths = sorted((ROOT / PACKAGE).rglob("*.py"))
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths)
    return dict(zip((name.removesuffix(".__init__") for name in names), paths, strict=True))


@cache
def text_of(module: str) -> str:
    return files()[module].read_text(encoding="utf-8")


@cache
def imports_of(module: str) -> frozenset[str]:
    """Modules that it imports, wherever in it, for its types alone too; ours as they are called."""
    found = set()
    for node in ast.walk(ast.parse(text_of(module))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            full = {f"{source}.{alias.name}" for alias in node.names}
            found |= {name if name in files() else source for name in full}
    return frozenset(found)


def named_in(module: str) -> frozenset[str]:
    """Our modules that it imports, or names in a text, as lazy imports do.

    The text of a folder's name is a group of entry points: there is nothing in it to import.
    """
    texts = {
        node.value.split(":")[0]
        for node in ast.walk(ast.parse(text_of(module)))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    lazy = {name for name in texts & files().keys() if files()[name].stem != "__init__"}
    return frozenset((imports_of(module) & files().keys()) | lazy) - {PACKAGE}


@cache
def rules(sign: str) -> tuple[tuple[str, frozenset[str]], ...]:
    """Rooms and what they may import, or must not name, as ARCHITECTURE.md says it."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```arrows\n(.*?)```", text, re.DOTALL)
    sides = (f"{line} ".partition(f" {sign} ") for line in block.splitlines())
    return tuple(
        (room, frozenset(others.split()))
        for rooms, found, others in sides
        for room in rooms.split() * bool(found)
    )


def arrows() -> dict[str, frozenset[str]]:
    return dict(rules("->"))


@cache
def room_of(module: str) -> str:
    """The longest name of a room that a module stands in."""
    inner = short(module) or "__init__"
    rooms = [room for room in arrows() if _stands_in(inner, room)]
    return max(rooms, key=len, default=f"no room for {module}")


def short(module: str) -> str:
    return module.removeprefix(PACKAGE).removeprefix(".")


def _stands_in(inner: str, place: str) -> bool:
    return f"{inner}.".startswith(f"{place}.")


def _may_import(room: str, other: str) -> bool:
    allowed = arrows()[room] | {room}
    modules = allowed - arrows().keys()
    return room_of(other) in allowed or any(_stands_in(short(other), name) for name in modules)


def listed(wrong: Iterable[object]) -> str:
    return "\n".join(map(str, wrong))


def test_every_module_has_a_room_and_every_import_an_arrow() -> None:
    wrong = [room for module in files() if (room := room_of(module)) not in arrows()]
    assert not wrong, listed(wrong)
    wrong = [
        f"{short(module)} imports {short(other)}"
        for module in files()
        for other in sorted(named_in(module))
        if not _may_import(room_of(module), other)
    ]
    assert not wrong, listed(wrong)


@pytest.mark.parametrize(("room", "rooms"), [("prune", stages.ROOMS), ("train", course.ROOMS)])
def test_what_long_work_keeps_is_keyed_by_every_room_that_computes_it(
    room: str, rooms: tuple[str, ...]
) -> None:
    reached, new = set[str](), {room}
    while new:
        reached |= new
        new = {name for each in new for name in arrows().get(each, ())} - reached
    assert {name.partition(".")[0] for name in reached} == set(rooms)


def test_no_room_names_what_it_must_not_know() -> None:
    wrong = [
        f"{short(module)} names {short(name)}"
        for room, others in rules("never")
        for module in files()
        if _stands_in(short(module), room)
        for name in sorted(named_in(module))
        if any(_stands_in(short(name), other) for other in others)
    ]
    assert not wrong, listed(wrong)


def test_light_rooms_load_nothing_heavy() -> None:
    """In one process, in the order of the document; a name that is not ours is a library."""
    rooms = [
        ([module for module in files() if _stands_in(short(module), room)], sorted(libraries))
        for room, others in rules("never")
        if (libraries := others - arrows().keys())
    ]
    script = (
        "import sys\nfrom importlib import import_module\n"
        f"for room, others in {rooms!r}:\n"
        "    for module in room:\n        import_module(module)\n"
        "    for other in set(others) & sys.modules.keys():\n"
        "        print(room[0], 'loads', other)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_nothing_imports_in_a_circle() -> None:
    wrong = circles({module: imports_of(module) & files().keys() for module in files()})
    assert not wrong, listed(wrong)


def circles(graph: Mapping[str, frozenset[str]]) -> list[list[str]]:
    """Groups of modules that lead to each other (Tarjan's strongly connected components)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found = []

    def visit(module: str) -> None:
        order[module] = lowest[module] = len(order)
        path.append(module)
        for other in graph[module]:
            if other not in order:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in path:
                lowest[module] = min(lowest[module], order[other])
        if lowest[module] == order[module]:
            group = path[path.index(module) :]
            del path[path.index(module) :]
            if len(group) > 1:
                found.append(sorted(group))

    for module in graph:
        if module not in order:
            visit(module)
    return found


def test_a_circle_is_found() -> None:
    graph = {"a": "bd", "b": "c", "c": "b", "d": ""}
    assert circles({key: frozenset(value) for key, value in graph.items()}) == [["b", "c"]]


def test_every_file_that_the_map_names_is_there() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w./]+(?:/|\.py|\.md))`", text))
    wrong = [name for name in named if not any((top / name).exists() for top in PLACES)]
    assert not wrong, listed(wrong)


def test_no_module_is_long() -> None:
    wrong = [module for module in files() if text_of(module).count("\n") > LONGEST]
    assert not wrong, listed(wrong)


def test_the_gate_imports_at_the_top() -> None:
    gate = (module for module in files() if _stands_in(short(module), "gate"))
    wrong = [module for module in gate if "noqa: PLC0415" in text_of(module)]
    assert not wrong, listed(wrong)


def test_nothing_unpickles_but_the_script_that_does_nothing_else() -> None:
    """Nor does anything use what pytest keeps to itself."""
    banned = (*PICKLES, "from _pytest", "import _pytest")
    wrong = [(module, words) for module in files() for words in banned if words in text_of(module)]
    assert wrong == [(UNPICKLER, "torch.load")]
    text = text_of(UNPICKLER)
    assert text.count("torch.load(") == text.count("weights_only=True") == 1
    assert not [module for module in files() if UNPICKLER in imports_of(module)]
    assert not [name for name in imports_of(UNPICKLER) if name.startswith((PACKAGE, "."))]


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


@pytest.mark.parametrize("name", sorted(SLOW))
def test_what_is_left_out_for_its_time_is_there(name: str) -> None:
    file, _, test = name.partition("::")
    text = (ROOT / "tests" / file).read_text(encoding="utf-8")
    assert f"def {test.partition('[')[0]}(" in text
