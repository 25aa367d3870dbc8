"""`pytest-circuits prune SPEC`."""

from __future__ import annotations

import os
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import click

import pytest_circuits
from pytest_circuits.errors import UsageError
from pytest_circuits.spec import Spec, load_spec, write_spec

if TYPE_CHECKING:
    from pytest_circuits.model import Model
    from pytest_circuits.prune.job import Found, PrunePlan


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
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
    "--steps",
    type=click.IntRange(min=1),
    default=800,
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
    "--sufficient-only",
    is_flag=True,
    help="Do not ask whether the model needs the circuit, as most published pruners do not. What "
    "is found this way often does the task alone and is not what the model does.",
)
@click.option("--device", help="Device to search on; default: cuda if there, else cpu.")
def prune(  # noqa: PLR0917  (click passes them by name)
    spec: Path,
    model_path: Path | None,
    out: Path | None,
    steps: int,
    seed: int,
    sufficient_only: bool,  # noqa: FBT001  (so does it with this)
    device: str | None,
) -> None:
    """Find the circuit of the behavior in SPEC and write it as a complete specification.

    SPEC may have no `nodes` yet; those that it has are replaced.
    """
    loaded = load_spec(spec)
    target = out or spec
    if not os.access(target if target.exists() else target.parent, os.W_OK) or target.is_dir():
        raise UsageError(f"{target}: cannot be written; name a file in a folder that exists")
    # What needs torch is imported after the file has been checked.
    from pytest_circuits.model import load_model, load_reference, usable_device  # noqa: PLC0415
    from pytest_circuits.prune.job import PrunePlan, find_circuit  # noqa: PLC0415
    from pytest_circuits.prune.masks import MaskPlan  # noqa: PLC0415

    model = load_model(model_path or loaded.model_path, device=usable_device(device))
    masks = MaskPlan(steps=steps, seed=seed)
    plan = PrunePlan.sufficient_only(masks) if sufficient_only else PrunePlan(masks=masks)
    try:
        found = find_circuit(loaded.spec, model, load_reference(model), plan)
    except KeyboardInterrupt:
        raise UsageError("interrupted; nothing was written") from None
    complete = _completed(loaded.spec, found, target=target, model=model, plan=plan)
    write_spec(complete, path=target, header=_opening_comment(spec))
    click.echo(
        f"{target}: {found.nodes.count} nodes, {found.edges} edges, task loss "
        f"{found.quality.loss:.3f}, worst separation without them "
        f"{found.quality.worst_separation:.2f} nats"
    )
    click.echo(f"Put it to the test: pytest --circuits {target}")


def _opening_comment(path: Path) -> str:
    """The comment above the first line of a specification, such as the editor's schema line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = takewhile(lambda line: line.startswith("#"), lines)
    return "\n".join(line.removeprefix("#").strip() for line in comment)


def _completed(spec: Spec, found: Found, *, target: Path, model: Model, plan: PrunePlan) -> Spec:
    """The specification with the nodes that were found, and how they were found."""
    where = os.path.relpath(model.path.resolve(), target.parent.resolve())
    found_by: dict[str, str | int | float | bool] = {
        "tool": f"pytest-circuits {pytest_circuits.__version__} prune",
        "model_digest": model.digest,
        "steps": plan.masks.steps,
        "seed": plan.masks.seed,
        "asked_for_necessity": plan.masks.backup_weight > 0,
        "nodes": found.nodes.count,
        "edges": found.edges,
        "task_loss": float(f"{found.quality.loss:.4g}"),
        "worst_separation": float(f"{found.quality.worst_separation:.4g}"),
    }
    return spec.model_copy(
        update={
            "model": Path(where).as_posix(),
            "nodes": dict(found.nodes.channels),
            "edges": None,  # those of the old nodes
            "found_by": found_by,
        }
    )
