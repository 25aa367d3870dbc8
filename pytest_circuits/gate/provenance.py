"""What reports tell besides evidence: what claims say, what a circuit depends on, its drawing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pytest_circuits.circuit.attention import aimless_heads
from pytest_circuits.circuit.edges import count_edges, live_edges
from pytest_circuits.circuit.nodes import Node
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.lax import lax_of
from pytest_circuits.claims.registry import CLAIMS, declared
from pytest_circuits.claims.selfcheck import SELFCHECK
from pytest_circuits.claims.stable.baseline import Live
from pytest_circuits.claims.stable.baseline_file import baseline_path
from pytest_circuits.gate.names import Names
from pytest_circuits.gate.settings import Directory
from pytest_circuits.model.protocol import Kind, Site
from pytest_circuits.report.run import (
    Artifact,
    Baseline,
    Circuit,
    Drawing,
    File,
    Matched,
    Meaning,
    Waiver,
)
from pytest_circuits.spec.load import LoadedSpec

_MOST_DRAWN = 60  # nodes, or edges

Read = tuple[Path, str]  # a file, absolute, and the sha256 of the bytes that were read


@cache
def glossary() -> dict[str, Meaning]:
    """What each claim says, for reports, from its card; a selfcheck has none."""
    found = {
        name: Meaning(claim.sentence, claim.at_most, claim.partner, claim.tier, order)
        for order, (name, claim) in enumerate(CLAIMS.items())
    }
    sentence = "by any seed, the model against itself is green and a shuffled circuit is red"
    return {**found, SELFCHECK: Meaning(sentence, order=len(found))}


@dataclass(frozen=True, slots=True)
class Sources:
    loaded: LoadedSpec  # as it was written; the bench has another one for a matched circuit
    path: Path  # of the specification, absolute
    candidate: Directory  # the model that is tested
    compared: Directory | None  # the model that it is compared with; None: a baseline file, if any
    matched: Matched | None
    read: Iterable[Read]  # for the specification
    read_for: Mapping[Path, Iterable[Read]]  # for each model, by folder


def circuit_of(bench: Bench, sources: Sources, names: Names, *, device: str) -> Circuit:
    """What was put to the test, as reports tell it."""
    model = names.artifact(bench.model, sources.candidate)
    baseline = _baseline(bench, sources, names)
    return Circuit(
        name=bench.spec.circuit,
        spec=names.relative(sources.path),
        digest=bench.loaded.digest,
        declared=declared(bench.spec),
        nodes=bench.nodes.count,
        edges=count_edges(bench.nodes, bench.model, bench.edges),
        reference_digest=bench.runner.reference.digest,
        model=model,
        baseline=baseline,
        device=device,
        files=_files(sources, names, model, baseline),
        drawing=drawing_of(bench),
        left_out=dict(bench.spec.undeclared.items()),
        lax=lax_of(bench.loaded),
        aimless=tuple(
            f"{layer}.{head} without {' and '.join(missing)}"
            for (layer, head), missing in aimless_heads(bench.nodes, bench.model).items()
        ),
        waivers=_waivers(sources, names),
        matched=sources.matched,
        description=bench.spec.description,
    )


def _baseline(bench: Bench, sources: Sources, names: Names) -> Baseline | None:
    """At least which model the baseline is of."""
    if bench.baseline is None:
        return None
    if sources.compared and isinstance(bench.baseline, Live):
        found = names.artifact(bench.baseline.runner.model, sources.compared)
        return Baseline(found.path, found.digest, recorded=False)
    file = baseline_path(sources.path, sources.loaded.spec.circuit)
    return Baseline(names.relative(file), bench.baseline.model.digest, recorded=True)


def _files(
    sources: Sources, names: Names, model: Artifact, baseline: Baseline | None
) -> tuple[File, ...]:
    """Every file that the evidence of a circuit depends on, sorted."""
    models = {sources.candidate.path: ("model", model.path)}
    if sources.compared and baseline and not baseline.recorded:
        models.setdefault(sources.compared.path, ("baseline model", baseline.path))
    recorded = baseline_path(sources.path, sources.loaded.spec.circuit).name
    found = set()
    for path, digest in set(sources.read).union(*(sources.read_for[place] for place in models)):
        if path.parent in models:
            role, folder = models[path.parent]
            found.add(File(f"{folder}/{path.name}", role, digest))
        else:
            role = "baseline" if path.name == recorded else "specification"
            found.add(File(names.relative(path), role, digest))
    return tuple(sorted(found, key=lambda file: (file.role, file.name, file.sha256)))


def _waivers(sources: Sources, names: Names) -> dict[str, Waiver]:
    found = {}
    for claim, given in sources.loaded.spec.waivers.items():
        at = sources.loaded.problem_at(("waivers", claim), "", key=True)
        place = f"{names.relative(sources.path)}:{at.line}:{at.col}"
        found[claim] = Waiver(given.until.isoformat(), given.reason, place)
    return found


def drawing_of(bench: Bench) -> Drawing | None:
    """The circuit as a drawing, where it is small enough to be looked at."""
    nodes, edges = bench.nodes, live_edges(bench.nodes, bench.model, bench.edges)
    if not 0 < nodes.count <= _MOST_DRAWN or edges.count > _MOST_DRAWN:
        return None
    sites = bench.model.sites
    placed = [(name, channel) for name in sites for channel in nodes.at(name)]
    joined = [(_id((source, a)), _id((target, b))) for (source, target), (a, b) in edges]
    stream = [(_id(writer), _id(reader)) for writer, reader in _stream(placed, sites)]
    return Drawing(tuple(map(_id, placed)), tuple(joined), tuple(stream))


def _stream(placed: Sequence[Node], sites: Mapping[str, Site]) -> Iterator[tuple[Node, Node]]:
    """Channels of the residual stream that a sublayer writes to, and what reads them later."""
    for place, (writer, channel) in enumerate(placed):
        for name, other in placed[place + 1 :] if sites[writer].writes else ():
            reads = sites[name].kind is Kind.RESIDUAL and not sites[name].writes
            if reads and other == channel:
                yield (writer, channel), (name, other)


def _id(node: Node) -> str:
    return f"{node[0]}[{node[1]}]"
