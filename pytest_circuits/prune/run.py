"""A request in this process: search, write what is found, and say what it is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import takewhile
from pathlib import Path

import click
import torch

from pytest_circuits.circuit.check import check_circuit
from pytest_circuits.errors import CircuitsError, SpecError, UsageError, exit_status
from pytest_circuits.model.device import usable_device
from pytest_circuits.model.open import load_model
from pytest_circuits.model.protocol import Model
from pytest_circuits.model.reference_file import load_reference
from pytest_circuits.prune.folders import folders_of, taking
from pytest_circuits.prune.job import find_circuits
from pytest_circuits.prune.masks import MaskPlan
from pytest_circuits.prune.notes import Notes
from pytest_circuits.prune.plan import Method, PrunePlan, Start
from pytest_circuits.prune.request import Request
from pytest_circuits.prune.result import completed, report
from pytest_circuits.prune.subject import NotFoundError, Subject
from pytest_circuits.spec.load import LoadedSpec, load_spec
from pytest_circuits.spec.types import Spec
from pytest_circuits.spec.write import dump_spec, write_spec

FOUND_NOTHING = 1  # exit status where at least one behavior has no circuit


@dataclass(frozen=True, slots=True)
class _Case:
    """One specification, where its result is written, and what is known of the search for it."""

    loaded: LoadedSpec
    target: Path
    notes: Notes


def perform(request: Request) -> int:
    """Search as one of several jobs; what a user did wrong is said. Returns the exit status.

    A job computes with one thread, unless the environment says otherwise, so that its result does
    not depend on how many others there are.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    try:
        loaded = [load_spec(Path(path)) for path in request.specs]
        with taking(folders_of(request)):
            return search(request, loaded)
    except CircuitsError as error:
        click.echo(f"Error: {error}", err=True)
        return exit_status(error)


def search(request: Request, loaded: Sequence[LoadedSpec]) -> int:
    """Search, model by model, and write what is found; returns the exit status.

    The folders of the request must have been taken; the notes stay there.
    """
    plan, device = plan_of(request), usable_device(request.device)
    cases = [
        _Case(each, Path(target), Notes(folder))
        for each, target, folder in zip(loaded, request.targets, folders_of(request), strict=True)
    ]
    failed = False
    for model_path, group in _by_model(cases, request.model):
        failed |= _search_together(group, plan, model_path, device)
    return FOUND_NOTHING if failed else 0


def plan_of(request: Request) -> PrunePlan:
    """The settings that a request asks for."""
    plan = PrunePlan(
        method=Method(request.method),
        start=Start(request.start),
        masks=MaskPlan(steps=request.steps),
        seed=request.seed,
        seeds=request.seeds,
        edges=request.edges,
        controls=request.controls,
        exhaust=request.exhaust,
    )
    plan = plan.sufficient_only() if request.sufficient_only else plan
    return plan.calibrated() if request.calibrate else plan


def _by_model(cases: Sequence[_Case], model: str | None) -> list[tuple[Path, list[_Case]]]:
    """The cases that can be searched in one batch, with their model."""
    groups: dict[tuple[Path, str], tuple[Path, list[_Case]]] = {}
    for case in cases:
        path = Path(model) if model else case.loaded.model_path
        key = path.resolve(), case.loaded.spec.ablation.value
        groups.setdefault(key, (path, []))[1].append(case)
    return list(groups.values())


def _search_together(
    cases: Sequence[_Case], plan: PrunePlan, model_path: Path, device: str
) -> bool:
    """Search cases of one model in one batch; True if something was not found."""
    model = load_model(model_path, device=device)
    reference = load_reference(model)
    ready, failed = [], False
    for case in cases:
        spec = _with_start(case, plan, model)
        try:
            ready.append((case, spec, Subject.of(spec, model, reference, plan)))
        except NotFoundError as error:
            failed = _tell(error)
    if not ready:
        return failed
    subjects = [subject for *_, subject in ready]
    notes = [case.notes for case, *_ in ready]
    results = find_circuits(subjects, reference, plan, notes=notes)
    for (case, spec, _), found in zip(ready, results, strict=True):
        if isinstance(found, NotFoundError):
            failed = _tell(found)
            continue
        _write(case, spec, completed(spec, found, plan, model, case.target), plan)
        report(case.target, found, plan, before=spec)
    return failed


def _with_start(case: _Case, plan: PrunePlan, model: Model) -> Spec:
    """The specification, with the nodes that a search starts with where it asks for its own."""
    spec = case.loaded.spec
    if plan.start is not Start.SPEC:
        return spec
    if not spec.nodes:
        raise UsageError(f"{case.loaded.path}: has no nodes that a search could start from")
    if problems := check_circuit(case.loaded, model):
        raise SpecError(*problems)
    text = case.loaded.path.read_bytes()
    return spec.model_copy(update={"nodes": _start(case, text, plan).once(lambda: spec.nodes)})


def _start(case: _Case, text: bytes, plan: PrunePlan) -> Notes:
    """The note of the nodes that a search starts with, by the text of its file.

    The result of a search may take the place of its specification; when it is run again after a
    kill, it still starts with the nodes that it started with.
    """
    return case.notes.about("start", repr(plan), sha256(text).hexdigest())


def _write(case: _Case, before: Spec, complete: Spec, plan: PrunePlan) -> None:
    header = _opening_comment(case.loaded.path)
    if plan.start is Start.SPEC:
        text = dump_spec(complete, header=header).encode()
        _start(case, text, plan).once(lambda: before.nodes)
    write_spec(complete, path=case.target, header=header)


def _tell(error: CircuitsError) -> bool:
    click.echo(f"Error: {error}", err=True)
    return True


def _opening_comment(path: Path) -> str:
    """The comment above the first line of a specification, such as the editor's schema line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = takewhile(lambda line: line.startswith("#"), lines)
    return "\n".join(line.removeprefix("#").strip() for line in comment)
