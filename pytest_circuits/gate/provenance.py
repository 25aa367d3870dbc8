"""What reports tell about a circuit besides its evidence: the files it depends on, its drawing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pytest_circuits.circuit.edges import live_edges
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.stable.baseline_file import baseline_path
from pytest_circuits.report.run import Artifact, Drawing, File
from pytest_circuits.spec.load import LoadedSpec

_MOST_DRAWN = 60  # nodes, or edges

Read = tuple[Path, str]  # a file, absolute, and the sha256 of the bytes that were read


def files_of(
    loaded: LoadedSpec,
    read: Iterable[Read],
    models: Mapping[Path, tuple[str, Artifact]],
    name: Callable[[Path], str],
) -> tuple[File, ...]:
    """Every file that the evidence of a circuit depends on, sorted.

    models: role and artifact of the folders that hold a model. name: a path as reports name it.
    """
    recorded = baseline_path(loaded.path, loaded.spec.circuit).name
    found = set()
    for path, digest in read:
        if path.parent in models:
            role, artifact = models[path.parent]
            found.add(File(f"{artifact.path}/{path.name}", role, digest))
        else:
            role = "baseline" if path.name == recorded else "specification"
            found.add(File(name(path), role, digest))
    return tuple(sorted(found, key=lambda file: (file.role, file.name, file.sha256)))


def absolute(read: Iterable[Read], folder: Path) -> set[Read]:
    """The same files by absolute paths; they were named as a user in `folder` would."""
    return {(Path(os.path.normpath(folder / path)), digest) for path, digest in read}


def drawing_of(bench: Bench) -> Drawing | None:
    """The circuit as a drawing, where it is small enough to be looked at."""
    nodes, edges = bench.nodes, live_edges(bench.nodes, bench.model, bench.edges)
    if not 0 < nodes.count <= _MOST_DRAWN or edges.count > _MOST_DRAWN:
        return None
    ids = [f"{hook}[{channel}]" for hook in bench.model.sites for channel in nodes.at(hook)]
    joined = [
        (f"{source}[{start}]", f"{target}[{end}]") for (source, target), (start, end) in edges
    ]
    return Drawing(tuple(ids), tuple(joined))
