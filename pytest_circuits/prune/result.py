"""What a search found, said on the terminal and as a complete specification."""

from __future__ import annotations

import os
from pathlib import Path

import click

import pytest_circuits
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.model.protocol import Model
from pytest_circuits.prune.job import Found
from pytest_circuits.prune.plan import PrunePlan, Start
from pytest_circuits.spec.types import FoundBy, Spec


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
    outdated = [claim for claim, _ in before.undeclared.items()]
    if outdated and before.nodes and Nodes.of(before.nodes) != found.nodes:
        click.echo(
            f"  what it says under `undeclared` ({', '.join(outdated)}) was measured on the "
            "circuit that it had before: measure it again"
        )
    click.echo(f"Put it to the test: pytest --circuits {target}")


def _counts(found: Found) -> list[int]:
    return [count for counts in found.frequency.values() for count in counts]


def completed(spec: Spec, found: Found, plan: PrunePlan, model: Model, target: Path) -> Spec:
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
    return spec.model_copy(
        update={
            "model": Path(where).as_posix(),
            "nodes": dict(found.nodes.channels),
            "calibration": found.calibrated and found.calibrated.calibration,
            "edges": None if found.edges is None else found.edges.listed(),
            "found_by": found_by,
        }
    )
