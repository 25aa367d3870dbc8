"""A circuit that another tool found, in its JSON, as the circuit of a behavior."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest_circuits
from pytest_circuits.circuit.check import refuse
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.scope import check_scope
from pytest_circuits.convert.acdc import is_acdc, read_acdc
from pytest_circuits.convert.circuit_tracer import is_circuit_tracer, read_circuit_tracer
from pytest_circuits.convert.eap_ig import eap_ig_text, is_eap_ig, read_eap_ig
from pytest_circuits.convert.json_places import At
from pytest_circuits.convert.parts import Part, Parts, is_parallel, parts_of
from pytest_circuits.convert.published_graph import LeftOut, PublishedGraph, short, some_of
from pytest_circuits.errors import ModelError, SpecError, UsageError
from pytest_circuits.model.protocol import Model, Overlapping, whole_of
from pytest_circuits.spec.load import LoadedSpec
from pytest_circuits.spec.problems import listed, quoted
from pytest_circuits.spec.sites import Sites
from pytest_circuits.spec.tree import Limits
from pytest_circuits.spec.types import Spec
from pytest_circuits.system.files import parse_any_json, read_bounded

_PICKLES = {".pth", ".pkl", ".pickle", ".p"}
WAY_OUT = (
    "graphs of EAP-IG, ACDC and circuit-tracer are read as JSON; write that where the file was "
    "made: Graph.from_pt(FILE).to_json(OUT), json.dump of the edges of ACDC as rows, or "
    "create_graph_files (docs/transformers.md)"
)
_MOST_NODES = Limits().values - 1000  # beside what else stands in a specification
MAX_BYTES = 2**28  # a graph of a model of 32 layers of 32 heads takes half of it
_FORMATS: tuple[
    tuple[Callable[[object], bool], Callable[[At, Parts, float | None], PublishedGraph]], ...
] = (
    (is_eap_ig, read_eap_ig),
    (is_acdc, read_acdc),
    (is_circuit_tracer, read_circuit_tracer),
)


@dataclass(frozen=True, slots=True)
class Imported:
    """A circuit, and what of its file it does not have."""

    nodes: Nodes
    sites: Sites | None  # that it is chosen among, where they overlap
    left_out: tuple[LeftOut, ...]
    found_by: Mapping[str, str | int | float | bool]

    @property
    def summary(self) -> str:
        said = self.found_by
        heads, mlps = (
            f"{said[f'{what}s']} {what}{'s' * (said[f'{what}s'] != 1)}" for what in ("head", "mlp")
        )
        return (
            f"{heads} and {mlps} as {self.nodes.count} nodes at {len(self.nodes.channels)} hook "
            f"points, from a circuit of {said['found_with']}"
        )


def refuse_pickle(path: Path) -> None:
    """Raise ModelError where a file is a pickle by its name, and says what to do instead."""
    if path.suffix in _PICKLES:
        raise ModelError(f"{path}: is a pickle, which is not opened; {WAY_OUT}")


def read_exchanged(
    path: Path, model: Model, behavior: LoadedSpec, *, threshold: float | None
) -> Imported:
    """Read the JSON of EAP-IG, ACDC or circuit-tracer as the circuit of a behavior.

    Raises ModelError where the file is none of them or does not fit the model, SpecError where its
    circuit cannot be chosen among the `sites` of the specification. threshold: see the readers.
    """
    content = read_bounded(path, max_bytes=MAX_BYTES, error=ModelError)
    said = parse_any_json(content, source=str(path), error=ModelError)
    read = next((read for fits, read in _FORMATS if fits(said)), None)
    if read is None:
        raise ModelError(
            f"{path}: is no circuit that is known: neither a graph of EAP-IG ('cfg', 'nodes', "
            "'edges') nor one of circuit-tracer ('nodes', 'links', or 'pinnedIds') nor a list of "
            "edges of ACDC"
        )
    parts = parts_of(model)
    graph = read(At(path, said), parts, threshold)
    sites = _sites(behavior, model, parts, graph)
    wanted = graph.parts
    if not graph.heads and sites is None:  # no way to leave heads whole but to name them
        wanted |= {part for part in parts.nodes if part.head is not None}
    places = {part: points for part in wanted if (points := _points(part, parts, model))}
    held = [part for part, points in places.items() if sites is None or points <= {*sites}]
    left = [
        LeftOut(some_of([*map(str, some)], "node"), why)
        for some, why in (
            (places.keys() - {*held}, "'sites' of the specification leave them whole"),
            (wanted - places.keys(), "the model has no site of such nodes"),
        )
        if some
    ]
    left += graph.left_out
    if not held:
        told = "\n".join(f"  {item}" for item in left)
        raise ModelError(f"{path}: nothing of its circuit is a node of {model.path}:\n{told}")
    nodes = parts.of(held)
    if nodes.count > _MOST_NODES:
        heads = sorted({x for part in held if part.head is not None for x in places[part]})
        scope = f"sites: [{', '.join(heads)}]"
        leave = f"write {quoted(scope)} in {behavior.path}, which leaves MLPs whole"
        raise ModelError(
            f"{path}: its {len(held)} heads and MLPs are {nodes.count:,} nodes of {model.path}, "
            f"and a specification holds at most {_MOST_NODES:,}; "
            f"{leave if heads else 'take a circuit of fewer MLPs'}"
        )
    found_by = _found_by(content, path, model, graph, held) | {
        "left_out": "; ".join(item.what for item in left)
    }
    if threshold is not None:
        found_by["threshold"] = threshold
    return Imported(nodes, sites, tuple(left), found_by)


def _found_by(
    content: bytes, path: Path, model: Model, graph: PublishedGraph, held: Sequence[Part]
) -> dict[str, str | int | float | bool]:
    found_by: dict[str, str | int | float | bool] = {
        "tool": f"pytest-circuits {pytest_circuits.__version__} convert",
        "source": path.name,
        "source_sha256": hashlib.sha256(content).hexdigest(),
        "found_with": graph.tool,
        "model_digest": model.digest,
        "heads": sum(part.head is not None for part in held),
        "mlps": sum(part.head is None for part in held),
    }
    return found_by | ({"made_on": short(graph.made_on)} if graph.made_on else {})


def _points(part: Part, parts: Parts, model: Model) -> set[str]:
    sites = whole_of(model).sites
    return {sites[name].point for name in parts.nodes.get(part, ())}


def _sites(behavior: LoadedSpec, model: Model, parts: Parts, graph: PublishedGraph) -> Sites | None:
    """What the circuit is chosen among: what is named, else what the nodes of its tool are here."""
    refuse(tuple(check_scope(behavior, model)))
    if not isinstance(model, Overlapping):
        return None
    every = [part for part in parts.nodes if graph.heads or part.head is None]
    possible = {point for part in every for point in _points(part, parts, model)}
    known = tuple(point for point in model.points if point in possible)
    for place, point in enumerate(behavior.spec.points):
        if point not in possible:
            text = f"a circuit of {graph.tool} is not chosen among {quoted(point)}"
            hint = f"possible: {listed(known)}"
            loc = ("sites", point if behavior.spec.named else place)
            raise SpecError(behavior.problem_at(loc, text, hint))
    return behavior.spec.sites or known


def exported(spec: Spec, model: Model, nodes: Nodes) -> tuple[str, list[str]]:
    """A circuit as a graph of EAP-IG, and what has to be said of it.

    A head or an MLP is in the graph where all of it is in the circuit, or where the specification
    leaves it whole by its `sites`. UsageError where it holds none.
    """
    parts = parts_of(model)
    if not parts.heads or not parts.width:
        raise UsageError(f"{model.path}: shows no heads, of which graphs of EAP-IG are made")
    held, left = parts.within(nodes)
    if not held:
        raise UsageError(
            f"{spec.circuit}: holds no head and no MLP whole, of which graphs of EAP-IG are made"
        )
    told = [f"not in the graph: {count} nodes at {name}" for name, count in left.items()]
    if spec.sites is not None:
        whole = [p for p in parts.nodes if not _points(p, parts, model) <= {*spec.points}]
        if whole:
            told.append(
                f"in the graph, as 'sites' leave them whole: {some_of([*map(str, whole)], 'node')}"
            )
        held += whole
    return eap_ig_text(parts, held, parallel=is_parallel(model)), told


def imported_spec(found: Imported, behavior: Spec, *, out: Path, model: Model) -> Spec:
    """What was found as the circuit of a behavior that a specification describes."""
    return as_circuit(behavior, out=out, model=model).model_copy(
        update={
            "sites": found.sites,
            "nodes": dict(found.nodes.channels),
            "found_by": found.found_by,
        }
    )


def as_circuit(behavior: Spec, *, out: Path, model: Model) -> Spec:
    """A behavior with its claims, named as the file that it goes to, without what was found."""
    return behavior.model_copy(
        update={
            "circuit": out.name.removesuffix(".yaml").removesuffix(".circuit"),
            "model": Path(os.path.relpath(model.path.resolve(), out.parent.resolve())).as_posix(),
            "edges": None,
            "calibration": None,
        }
    )
