"""`pytest-circuits diff BASE CANDIDATE [SPEC ...]`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_circuits.commands import FILE, PATH, write_named
from pytest_circuits.discover import find_specs
from pytest_circuits.errors import UsageError
from pytest_circuits.spec.load import LoadedSpec, load_spec

if TYPE_CHECKING:
    from pytest_circuits.model.protocol import Model

FOLDER = Path("circuits")


@click.command()
@click.argument("base", type=PATH)
@click.argument("candidate", type=PATH)
@click.argument("specs", metavar="[SPEC]...", nargs=-1, type=PATH)
@click.option("--json", "json_file", metavar="FILE", type=FILE, help="Write it as JSON, too.")
@click.option("--svg", "svg_file", metavar="FILE", type=FILE, help="Draw it, too.")
@click.option("--exit-code", is_flag=True, help="End with status 1 unless every circuit is kept.")
@click.option("--device", help="Device of the models (default: cuda if there, else cpu).")
def diff(
    base: Path,
    candidate: Path,
    specs: tuple[Path, ...],
    *,
    json_file: Path | None,
    svg_file: Path | None,
    exit_code: bool,
    device: str | None,
) -> None:
    """Say what an update did to the circuits of SPEC, files or folders (default: circuits/).

    BASE and CANDIDATE are model directories. A circuit is kept, weakened, moved to other nodes,
    replaced by something else that does the same, or gone with its behavior. Then come the rates,
    and node by node how much it adds to the preference, and how alike its signal is.
    """
    loaded = _loaded(specs or (FOLDER,))
    # What needs torch is imported after the files have been checked.
    from pytest_circuits.claims.setup import checked_bench  # noqa: PLC0415
    from pytest_circuits.diff.change import Kind, change_of  # noqa: PLC0415
    from pytest_circuits.diff.measure import measure  # noqa: PLC0415
    from pytest_circuits.diff.picture import picture  # noqa: PLC0415
    from pytest_circuits.diff.record import dump  # noqa: PLC0415
    from pytest_circuits.diff.table import change_lines  # noqa: PLC0415
    from pytest_circuits.model.open import opener, usable_device  # noqa: PLC0415

    opened = opener(usable_device(device))
    models = [[opened(spec, path) for spec in loaded] for path in (base, candidate)]
    changes = []
    benches = [checked_bench(spec, model) for spec, model in zip(loaded, models[0], strict=True)]
    for bench, other in zip(benches, models[1], strict=True):
        measured = measure(bench, other)
        changes.append((measured, change_of(measured)))
        click.echo("\n".join(change_lines(*changes[-1])) + "\n")
    kinds = [change.kind for _, change in changes]
    counted = ", ".join(f"{kinds.count(kind)} {kind}" for kind in Kind if kind in kinds)
    click.echo(f"{candidate} against {base}: {counted}")
    if json_file:
        both = zip((base, candidate), models, strict=True)
        was, now = ({"path": _named(path), "digest": _digest(some)} for path, some in both)
        write_named(json_file, dump({"base": was, "candidate": now}, changes))
    if svg_file:
        write_named(svg_file, picture(changes, title=f"{_named(candidate)} against {_named(base)}"))
    if exit_code and set(kinds) != {Kind.KEPT}:
        sys.exit(1)


def _named(model: Path) -> str:
    """What records say about a model: the path as it was given, but never an absolute one."""
    if model.name in {"", ".."}:
        return model.resolve().name
    return model.name if model.is_absolute() else model.as_posix()


def _digest(models: Iterable[Model]) -> str:
    """Of a model, or of each that it is by the sites that specifications name."""
    return ", ".join(dict.fromkeys(model.digest for model in models))


def _loaded(places: Sequence[Path]) -> list[LoadedSpec]:
    """The specifications that have circuits, of files and folders."""
    missing = [place for place in places if not place.exists()]
    if missing:
        raise UsageError(f"{missing[0]}: there is no such file or folder; name specifications")
    found = [load_spec(path) for path in find_specs(places).specs]
    circuits = [loaded for loaded in found if any(loaded.spec.nodes.values())]
    if not circuits:
        shown = ", ".join(map(str, places))
        raise UsageError(f"no specification (*.circuit.yaml) with nodes in {shown}")
    return circuits
