"""`pytest-circuits prune SPEC ...`."""

from __future__ import annotations

import os
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import click

import pytest_circuits
from pytest_circuits.errors import CircuitsError, UsageError
from pytest_circuits.spec import LoadedSpec, Spec, load_spec, write_spec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_circuits.model import Model
    from pytest_circuits.prune.job import Found
    from pytest_circuits.prune.plan import PrunePlan
    from pytest_circuits.spec.types import FoundBy

_FOUND_NOTHING = 1  # exit code where at least one behavior has no circuit


@click.command()
@click.argument(
    "specs", metavar="SPEC...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--model",
    "model_path",
    type=click.Path(path_type=Path),
    help="Search in this model instead of the one that SPEC names.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write the complete specification here; default: SPEC itself.",
)
@click.option(
    "--method",
    type=click.Choice(["masks", "attribution", "greedy"]),
    default="masks",
    show_default=True,
    help="How nodes are proposed before they are refined: learnt masks, the ranking by integrated "
    "gradients, or removal from the outputs back to the inputs.",
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=300,
    show_default=True,
    help="Steps of the mask search.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0, max=10**6),
    default=0,
    show_default=True,
    help="Seed of the mask search.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1, max=1000),
    default=1,
    show_default=True,
    help="Mask searches of each behavior, with this many seeds, in one batch; the smallest circuit "
    "that any of them, or all together, lead to is taken.",
)
@click.option(
    "--sufficient-only",
    is_flag=True,
    help="Do not ask whether the model needs the circuit, as most published pruners do not. What "
    "is found this way often does the task alone and is not what the model does.",
)
@click.option(
    "--exhaust",
    is_flag=True,
    help="Search again with the nodes that were found forbidden, until nothing is found: the "
    "backups of the circuit. They are reported, not written.",
)
@click.option(
    "--calibrate",
    is_flag=True,
    help="Fit a scale and a shift of the circuit's preference at the end, and write them as its "
    "`calibration`: it may be less sure than the model, and need fewer nodes.",
)
@click.option("--edges/--no-edges", default=True, help="List the edges that the circuit needs.")
@click.option(
    "--controls/--no-controls",
    default=True,
    help="Run the same mask search for shuffled labels and in a model with shuffled weights.",
)
@click.option("--device", help="Device to search on; default: cuda if there, else cpu.")
def prune(  # noqa: PLR0917  (click passes them by name)
    specs: tuple[Path, ...],
    model_path: Path | None,
    out: Path | None,
    method: str,
    steps: int,
    seed: int,
    seeds: int,
    sufficient_only: bool,  # noqa: FBT001  (so does it with these)
    exhaust: bool,  # noqa: FBT001
    calibrate: bool,  # noqa: FBT001
    edges: bool,  # noqa: FBT001
    controls: bool,  # noqa: FBT001
    device: str | None,
) -> None:
    """Find the circuit of the behavior in each SPEC and write it as a complete specification.

    SPEC may have no `nodes` yet; those that it has are replaced. Several behaviors are searched in
    one batch. The exit code is 1 where a behavior has no circuit that is good enough; those of the
    others are written all the same.
    """
    loaded = [load_spec(path) for path in specs]
    targets = _targets(specs, out)
    # What needs torch is imported after the files have been checked.
    from pytest_circuits.model import usable_device  # noqa: PLC0415
    from pytest_circuits.prune.masks import MaskPlan  # noqa: PLC0415
    from pytest_circuits.prune.plan import Method, PrunePlan  # noqa: PLC0415

    plan = PrunePlan(
        method=Method(method),
        masks=MaskPlan(steps=steps),
        seed=seed,
        seeds=seeds,
        edges=edges,
        controls=controls,
        exhaust=exhaust,
    )
    plan = plan.sufficient_only() if sufficient_only else plan
    plan = plan.calibrated() if calibrate else plan
    try:
        failed = _run(loaded, targets, plan, model_path, usable_device(device))
    except KeyboardInterrupt:
        raise UsageError("interrupted; what was found before is written") from None
    if failed:
        raise SystemExit(_FOUND_NOTHING)


def _targets(specs: Sequence[Path], out: Path | None) -> list[Path]:
    if out is not None and len(specs) > 1:
        raise UsageError("--out is for one SPEC; without it, each is written to its own file")
    targets = [out] if out else list(specs)
    for target in targets:
        writable = os.access(target if target.exists() else target.parent, os.W_OK)
        if not writable or target.is_dir():
            raise UsageError(f"{target}: cannot be written; name a file in a folder that exists")
    return targets


def _run(
    loaded: Sequence[LoadedSpec],
    targets: Sequence[Path],
    plan: PrunePlan,
    model_path: Path | None,
    device: str,
) -> bool:
    """Search, model by model, and write what is found; True if something was not."""
    failed = False
    for group in _by_model(loaded, model_path):
        failed |= _run_group(
            [loaded[i] for i in group],
            [targets[i] for i in group],
            plan,
            model_path or loaded[group[0]].model_path,
            device,
        )
    return failed


def _by_model(loaded: Sequence[LoadedSpec], model_path: Path | None) -> list[list[int]]:
    """Indexes of the specifications that can be searched in one batch."""
    groups: dict[tuple[Path, str], list[int]] = {}
    for index, each in enumerate(loaded):
        where = (model_path or each.model_path).resolve()
        groups.setdefault((where, each.spec.ablation.value), []).append(index)
    return list(groups.values())


def _run_group(
    loaded: Sequence[LoadedSpec],
    targets: Sequence[Path],
    plan: PrunePlan,
    model_path: Path,
    device: str,
) -> bool:
    from pytest_circuits.model import load_model, load_reference  # noqa: PLC0415
    from pytest_circuits.prune.job import find_circuits  # noqa: PLC0415
    from pytest_circuits.prune.subject import NotFoundError, Subject  # noqa: PLC0415

    model = load_model(model_path, device=device)
    reference = load_reference(model)
    ready, failed = [], False
    for each, target in zip(loaded, targets, strict=True):
        try:
            ready.append((each, target, Subject.of(each.spec, model, reference, plan)))
        except NotFoundError as error:
            failed = _tell(error)
    if not ready:
        return failed
    subjects = [subject for *_, subject in ready]
    results = find_circuits(subjects, reference, plan)
    for (each, target, _), found in zip(ready, results, strict=True):
        if isinstance(found, NotFoundError):
            failed = _tell(found)
            continue
        complete = _completed(each.spec, found, plan, model, target)
        write_spec(complete, path=target, header=_opening_comment(each.path))
        _report(target, found, plan)
    return failed


def _tell(error: CircuitsError) -> bool:
    click.echo(f"Error: {error}", err=True)
    return True


def _opening_comment(path: Path) -> str:
    """The comment above the first line of a specification, such as the editor's schema line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = takewhile(lambda line: line.startswith("#"), lines)
    return "\n".join(line.removeprefix("#").strip() for line in comment)


def _report(target: Path, found: Found, plan: PrunePlan) -> None:
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
        each = zip(found.nodes.ids(), _counts(found), strict=True)
        text = ", ".join(f"{node} {count}" for node, count in each)
        click.echo(f"  found by how many of {plan.seeds} seeds: {text}")
    for name, control in found.controls.items():
        flag = "" if control.is_far_from(found.drafted) else "  <- not clearly worse"
        click.echo(f"  the same masks with {name.replace('_', ' ')}: {control}{flag}")
    for number, backup in enumerate(found.backups or (), start=1):
        click.echo(
            f"  backup {number}: {backup.nodes.count} other nodes do the task at loss "
            f"{backup.quality.loss:.3f}: {', '.join(backup.nodes.ids())}"
        )
    if found.backups == ():
        click.echo("  no backup: without these nodes nothing does the task")
    click.echo(f"Put it to the test: pytest --circuits {target}")


def _counts(found: Found) -> list[int]:
    return [count for counts in found.frequency.values() for count in counts]


def _completed(spec: Spec, found: Found, plan: PrunePlan, model: Model, target: Path) -> Spec:
    """The specification with the nodes that were found, and how they were found."""
    where = os.path.relpath(model.path.resolve(), target.parent.resolve())
    found_by: dict[str, FoundBy] = {
        "tool": f"pytest-circuits {pytest_circuits.__version__} prune",
        "model_digest": model.digest,
        "method": plan.method.value,
        "steps": plan.masks.steps,
        "seed": plan.seed,
        "seeds": plan.seeds,
        "asked_for_necessity": plan.masks.backup_weight > 0,
        "nodes": found.nodes.count,
        "task_loss": float(f"{found.quality.loss:.4g}"),
        "worst_separation": float(f"{found.quality.worst_separation:.4g}"),
    }
    if found.calibrated:
        plain = found.calibrated.plain.loss
        found_by["task_loss_uncalibrated"] = float(f"{plain:.4g}")
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
    return spec.model_copy(
        update={
            "model": Path(where).as_posix(),
            "nodes": dict(found.nodes.channels),
            "calibration": found.calibrated and found.calibrated.calibration,
            "edges": None if found.edges is None else found.edges.listed(),
            "found_by": found_by,
        }
    )
