"""What reports tell besides evidence: what claims say, what a circuit depends on, its drawing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pytest_circuits.circuit.attention import aimless_heads
from pytest_circuits.circuit.edges import count_edges
from pytest_circuits.claims.bench import Bench
from pytest_circuits.claims.lax import lax_of
from pytest_circuits.claims.registry import CLAIMS, declared
from pytest_circuits.claims.selfcheck import SELFCHECK
from pytest_circuits.claims.stable.baseline import Live
from pytest_circuits.claims.stable.baseline_file import baseline_path
from pytest_circuits.gate.names import Names
from pytest_circuits.gate.settings import Directory
from pytest_circuits.report.run import (
    Artifact,
    Baseline,
    Circuit,
    File,
    Matched,
    Meaning,
    Waiver,
)
from pytest_circuits.show.heat import Heat
from pytest_circuits.show.wiring import drawing_of, heat_of
from pytest_circuits.spec.load import LoadedSpec

_MOST_DRAWN = 2000  # nodes, or edges

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
        reference_digest=bench.runner.measured.digest,
        model=model,
        baseline=baseline,
        device=device,
        files=_files(sources, names, model, baseline),
        drawing=drawing_of(bench.model, bench.nodes, bench.edges, most=_MOST_DRAWN),
        heat=_heat(bench),
        left_out=dict(bench.spec.undeclared.items()),
        lax=lax_of(bench.loaded),
        aimless=tuple(
            f"{layer}.{head} without {' and '.join(missing)}"
            for (layer, head), missing in aimless_heads(bench.nodes, bench.model).items()
        ),
        rivals=bench.spec.rivals,
        waivers=_waivers(sources, names),
        matched=sources.matched,
        description=bench.spec.description,
    )


def _heat(bench: Bench) -> Heat | None:
    """What the circuit does at the shortest pair of the sample."""
    if not bench.nodes.count:
        return None
    pair = min(bench.sample.pairs, key=lambda pair: (len(pair.first.text), pair.first.text))
    return heat_of(bench.model, bench.nodes, pair)


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
    for place, (role, folder) in models.items():
        for path, digest in sources.read_for[place]:
            inside = path.parent == place  # or the code that handed the model over
            name = f"{folder}/{path.name}" if inside else names.relative(path)
            found.add(File(name, role, digest))
    for path, digest in sources.read:
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
