"""A request in this process: search, write what is found, and say what it is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import takewhile
from pathlib import Path

import click
from pydantic import TypeAdapter

import pytest_circuits
from pytest_circuits.circuit.check import check_asked, check_circuit, refuse
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.scope import check_scope
from pytest_circuits.errors import CircuitsError, UsageError, exit_status
from pytest_circuits.model.arithmetic import own_arithmetic
from pytest_circuits.model.open import opener, usable_device
from pytest_circuits.model.protocol import Model
from pytest_circuits.model.reference_file import load_reference
from pytest_circuits.prompts.space import PromptSpace
from pytest_circuits.prune.judge import Judge
from pytest_circuits.prune.plan import AUTO, MaskPlan, Method, PrunePlan, Start
from pytest_circuits.prune.pool import split
from pytest_circuits.prune.request import Request
from pytest_circuits.prune.search import Found, Rivals, find_circuits
from pytest_circuits.prune.stages import Notes
from pytest_circuits.prune.subject import NotFoundError, Subject, demands_of, ranks_nodes
from pytest_circuits.spec.load import LoadedSpec, load_spec
from pytest_circuits.spec.problems import Problem
from pytest_circuits.spec.tree import Limits
from pytest_circuits.spec.types import FoundBy, Spec
from pytest_circuits.spec.write import dump_spec, write_spec

FOUND_NOTHING = 1  # exit status where at least one behavior has no circuit
_MOST_LISTED = Limits().values - 1000  # nodes, beside what else stands in a specification
_OF_EDGE = 3  # values in a file
_IN_VAIN = {  # said before the next method is tried
    Method.ATTRIBUTION: "the top of a ranking leads to no circuit; masks are learnt",
    Method.MASKS: "masks lead to no circuit; a ranking is tried",
}
_CHANNELS = TypeAdapter(dict[str, tuple[int, ...]])


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One specification, where its result is written, and what is found on the way."""

    loaded: LoadedSpec
    target: Path
    folder: Path


def perform(request: Request) -> int:
    """Search as one of several jobs; what a user did wrong is said. Returns the exit status.

    A job computes with one thread, unless the environment says otherwise, so that its result does
    not depend on how many others there are.
    """
    threads = None if "OMP_NUM_THREADS" in os.environ else 1
    try:
        loaded = [load_spec(Path(path)) for path in request.specs]
        with request.taking(), own_arithmetic(threads):
            return search(request, loaded)
    except CircuitsError as error:
        click.echo(f"Error: {error}", err=True)
        return exit_status(error)


@own_arithmetic()
def search(request: Request, loaded: Sequence[LoadedSpec]) -> int:
    """Search, model by model, and write what is found; returns the exit status.

    The folders of the request must have been taken; what is kept in them stays there.
    """
    plan, device = plan_of(request), usable_device(request.device)
    wanted = [
        _Wanted(each, Path(target), folder)
        for each, target, folder in zip(loaded, request.targets, request.folders, strict=True)
    ]
    opened = opener(device, most=1)
    failed, groups = False, _by_model(wanted, request.model, plan)
    refuse([p for at, group in groups for p in _problems(group, plan, opened(group[0].loaded, at))])
    for path, group in groups:
        model = opened(group[0].loaded, path)
        plans = _plans(plan, request, group[0].loaded.spec, model)
        failed |= _search_together(group, plans, model)
    return FOUND_NOTHING if failed else 0


def _problems(wanted: Sequence[_Wanted], plan: PrunePlan, model: Model) -> Iterator[Problem]:
    """Give what is wrong with the specifications of one model, before any of them is searched."""
    for each in wanted:
        yield from check_scope(each.loaded, model, searched=True)
        if plan.start is Start.SPEC:
            yield from check_circuit(each.loaded, model)
        space = PromptSpace(each.loaded.spec.behavior)
        parts = split(space, evaluation=plan.evaluation_pairs)
        yield from check_asked(each.loaded, model, (*parts.evaluation, *parts.training))


def plan_of(request: Request) -> PrunePlan:
    plan = PrunePlan(
        method=Method.MASKS if request.method == AUTO else Method(request.method),
        start=Start(request.start),
        masks=MaskPlan(steps=request.steps),
        seed=request.seed,
        seeds=request.seeds,
        edges=request.edges,
        controls=request.controls,
        exhaust=request.exhaust,
        rivals=request.rivals,
        certify=request.certify,
    )
    plan = plan.sufficient_only() if request.sufficient_only else plan
    return plan.calibrated() if request.calibrate else plan


def _plans(plan: PrunePlan, request: Request, spec: Spec, model: Model) -> list[PrunePlan]:
    """The plan of the search, and those that follow where one before leads to no circuit.

    Where a request leaves the method open, rankings go before masks and after them, or take their
    place where they fit the model.
    """
    of_masks = plan.start is not Start.ALL or plan.seeds > 1
    if request.method != AUTO or of_masks:
        return [plan]
    if ranks_nodes(spec, model):
        return [replace(plan, method=Method.ATTRIBUTION)]
    held = demands_of(spec, plan).max_gap is not None
    return [*([plan.by_sure_ranking()] if held else []), plan, plan.by_ranking()]


def _by_model(
    wanted: Sequence[_Wanted], model: str | None, plan: PrunePlan
) -> list[tuple[Path, list[_Wanted]]]:
    """Those that can be searched in one batch, with their model."""
    groups: dict[tuple[object, ...], tuple[Path, list[_Wanted]]] = {}
    for each in wanted:
        path = Path(model) if model else each.loaded.model_path
        spec = each.loaded.spec
        sites = frozenset(spec.points), spec.named
        key = path.resolve(), sites, demands_of(spec, plan)
        groups.setdefault(key, (path, []))[1].append(each)
    return list(groups.values())


def _search_together(wanted: Sequence[_Wanted], plans: Sequence[PrunePlan], model: Model) -> bool:
    """Search those of one model in one batch; True if something was not found.

    plans: what is not found by one is searched for by the next. The error that is said is that of
    masks, where these are among them.
    """
    reference = load_reference(model)
    ready, failed = [], False
    for each in wanted:
        spec = _with_start(each, plans[0])
        try:
            ready.append((each, spec, Subject.of(spec, model, reference, plans[0])))
        except NotFoundError as error:
            failed = _tell(error)
    errors: dict[Path, NotFoundError] = {}
    for plan in plans:
        subjects, folders = [subject for *_, subject in ready], [each.folder for each, *_ in ready]
        results = find_circuits(subjects, reference, plan, folders=folders) if ready else ()
        left = []
        for (each, spec, subject), found in zip(ready, results, strict=True):
            if isinstance(found, NotFoundError):
                left.append((each, spec, subject))
                if not plan.sure:
                    errors.setdefault(each.target, found)
                if plan is not plans[-1]:
                    click.echo(f"{spec.circuit}: {_IN_VAIN[plan.method]}", err=True)
                continue
            _write(each, spec, completed(spec, found, plan, model, each.target), plan)
            report(each.target, found, plan, before=spec)
            _warn(subject.judge, found)
            click.echo(f"Put it to the test: pytest --circuits {each.target}")
        ready = left
    for each, *_ in ready:
        failed = _tell(errors[each.target])
    return failed


def _warn(judge: Judge, found: Found) -> None:
    """Say what `necessary` is going to find, and the search did not ask for."""
    if judge.bar.asks_for_necessity:
        left = judge.left_by_edges((found.nodes, found.edges))
        if left > judge.bar.max_separation:
            click.echo(
                f"  with only its edges cut, and its nodes alive, a pair is still told apart by "
                f"{left:.2f} nats: another path joins at its nodes, and `necessary` may fail"
            )


def _with_start(each: _Wanted, plan: PrunePlan) -> Spec:
    """The specification, with the nodes that a search starts with where it asks for its own."""
    spec = each.loaded.spec
    if plan.start is not Start.SPEC:
        return spec
    if not spec.nodes:
        raise UsageError(f"{each.loaded.path}: has no nodes that a search could start from")
    nodes = _remembered(each, each.loaded.path.read_bytes(), plan, spec.nodes)
    return spec.model_copy(update={"nodes": nodes})


def _remembered(
    each: _Wanted, text: bytes, plan: PrunePlan, nodes: Mapping[str, tuple[int, ...]]
) -> Mapping[str, tuple[int, ...]]:
    """The nodes that a search starts with, by the text of its file.

    The result of a search may take the place of its specification; when it is run again after a
    kill, it still starts with the nodes that it started with.
    """
    notes = Notes(each.folder).about("start", repr(plan), sha256(text).hexdigest())
    return notes.once(lambda: dict(nodes), _CHANNELS)


def _write(each: _Wanted, before: Spec, complete: Spec, plan: PrunePlan) -> None:
    header = _opening_comment(each.loaded.path)
    if plan.start is Start.SPEC:
        _remembered(each, dump_spec(complete, header=header).encode(), plan, before.nodes)
    write_spec(complete, path=each.target, header=header)


def _tell(error: CircuitsError) -> bool:
    click.echo(f"Error: {error}", err=True)
    return True


def _opening_comment(path: Path) -> str:
    """The comment above the first line of a specification, such as the editor's schema line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = takewhile(lambda line: line.startswith("#"), lines)
    return "\n".join(line.removeprefix("#").strip() for line in comment)


def report(target: Path, found: Found, plan: PrunePlan, *, before: Spec) -> None:
    """Say what was found, and what a specification says of the circuit that it had before."""
    edges = "all weights between them" if found.edges is None else f"{found.edges.count} edges"
    click.echo(
        f"{target}: {found.nodes.count} nodes, {edges}, task loss {found.quality.loss:.3f}, worst "
        f"separation without them {found.quality.worst_separation:.2f} nats"
    )
    if found.calibrated:
        fitted, plain = found.calibrated.calibration, found.calibrated.plain
        click.echo(
            f"  calibrated: scale {fitted.scale:g}, shift {fitted.shift:g} nats; without, the task "
            f"loss is {plain.loss:.3f}"
        )
    if plan.seeds > 1:
        counts = (count for counts in found.frequency.values() for count in counts)
        each = zip(found.nodes.ids(), counts, strict=True)
        text = ", ".join(f"{node} {count}" for node, count in each)
        click.echo(f"  found by how many of {plan.seeds} seeds: {text}")
    for known in (found.proof, found.certified):
        if known is not None:
            click.echo(f"  {known}")
    how = "ranking" if plan.method is Method.ATTRIBUTION else "masks"
    for name, control in found.controls.items():
        flag = "" if control.is_far_from(found.drafted) else "  <- not clearly worse"
        click.echo(f"  the same {how} with {name.replace('_', ' ')}: {control}{flag}")
    for number, backup in enumerate(found.backups or (), start=1):
        click.echo(
            f"  backup {number}: {backup.nodes.count} other nodes do the task at loss "
            f"{backup.quality.loss:.3f}: {', '.join(backup.nodes.ids())}"
        )
    if found.backups == ():
        click.echo("  no backup: without these nodes nothing does the task")
    if found.rivals is not None:
        _tell_of_rivals(found.rivals)
    outdated = [claim for claim, _ in before.undeclared.items()]
    if outdated and before.nodes and Nodes.of(before.nodes) != found.nodes:
        click.echo(
            f"  what it says under `undeclared` ({', '.join(outdated)}) was measured on the "
            "circuit that it had before: measure it again"
        )


def _tell_of_rivals(rivals: Rivals) -> None:
    both = zip(rivals.found, rivals.shared, strict=True)
    for number, (rival, shared) in enumerate(both, start=1):
        click.echo(
            f"  rival {number}: {rival.nodes.count} nodes, {shared:.0%} of them shared, meet the "
            f"same demands at loss {rival.quality.loss:.3f}: {', '.join(rival.nodes.ids())}"
        )
    click.echo(f"  {'no more rivals' if rivals.found else 'no rival'}: {rivals.end}")


def completed(spec: Spec, found: Found, plan: PrunePlan, model: Model, target: Path) -> Spec:
    """The specification with the nodes that were found, and how they were found."""
    where = os.path.relpath(model.path.resolve(), target.parent.resolve())
    of_masks = {"steps": plan.masks.steps, "seed": plan.seed, "seeds": plan.seeds}
    found_by: dict[str, FoundBy] = {
        "tool": f"pytest-circuits {pytest_circuits.__version__} prune",
        "model_digest": model.digest,
        "method": plan.method.value,
        **(of_masks if plan.method is Method.MASKS else {}),
        "asked_for_necessity": plan.masks.backup_weight > 0,
        "nodes": found.nodes.count,
        "task_loss": float(f"{found.quality.loss:.4g}"),
        "worst_separation": float(f"{found.quality.worst_separation:.4g}"),
    }
    if found.calibrated:
        plain = found.calibrated.plain.loss
        found_by["task_loss_uncalibrated"] = float(f"{plain:.4g}")
    if plan.start is not Start.ALL:
        found_by["started_from"] = plan.start.value
    if found.edges is not None:
        found_by["edges"] = found.edges.count
    if plan.seeds > 1:
        found_by["seeds_that_found"] = found.frequency
    for name, control in found.controls.items():
        found_by[f"{name}_nodes"] = str(control)
    if found.controls:
        far = all(c.is_far_from(found.drafted) for c in found.controls.values())
        found_by["clearly_better_than_controls"] = far
    if found.backups is not None:
        found_by["backups"] = len(found.backups)
    if found.rivals is not None:
        found_by |= _told_of_rivals(found, found.rivals)
    for known in (found.proof, found.certified):
        found_by |= {} if known is None else known.told()
    return spec.model_copy(
        update={
            "model": Path(where).as_posix(),
            "nodes": dict(found.nodes.channels),
            "calibration": found.calibrated and found.calibrated.calibration,
            "edges": None if found.edges is None else found.edges.listed(),
            "found_by": found_by,
        }
    )


def _told_of_rivals(found: Found, rivals: Rivals) -> dict[str, FoundBy]:
    """The rivals of a circuit, with their nodes as far as a specification has room for them."""
    told: dict[str, FoundBy] = {"rivals": len(rivals.found), "rivals_end": rivals.end}
    room = _MOST_LISTED - found.nodes.count - _OF_EDGE * (found.edges.count if found.edges else 0)
    both = zip(rivals.found, rivals.shared, strict=True)
    for number, (rival, shared) in enumerate(both, start=1):
        room -= rival.nodes.count
        if room >= 0:
            told[f"rival_{number}"] = dict(rival.nodes.channels)
        told[f"rival_{number}_shared"] = float(f"{shared:.3g}")
        told[f"rival_{number}_task_loss"] = float(f"{rival.quality.loss:.4g}")
    return told
