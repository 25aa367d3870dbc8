"""`pytest-circuits train CONFIG --out DIR [--resume]`."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_circuits.commands import PATH
from pytest_circuits.errors import CircuitsError, StoppedError
from pytest_circuits.spec.load import read_as
from pytest_circuits.system.files import check_free
from pytest_circuits.system.lock import hold
from pytest_circuits.train.config import TrainConfig
from pytest_circuits.train.run_folder import RunFolder

if TYPE_CHECKING:
    from pytest_circuits.model.sparse.adapter import SparseModel
    from pytest_circuits.train.distributed import World
    from pytest_circuits.train.evaluation import Scores


@click.command()
@click.argument("config", type=PATH)
@click.option(
    "--out",
    required=True,
    type=PATH,
    help="Directory that the model is written to; the state of the run is kept beside it, in "
    "OUT.training.",
)
@click.option("--resume", is_flag=True, help="Go on with a run that was stopped or killed.")
@click.option("--device", help="Device to train on; default: cuda if there, else cpu.")
def train(
    config: Path,
    out: Path,
    resume: bool,  # noqa: FBT001  (click passes it by name)
    device: str | None,
) -> None:
    """Make a weight-sparse model from a YAML configuration.

    Ctrl-C and SIGTERM save the state and stop within a step; --resume goes on to the same weights.
    With several GPUs: torchrun --nproc-per-node N -m pytest_circuits train CONFIG --out DIR.
    """
    plan = read_as(config, TrainConfig)
    folder = RunFolder(out)
    if not (resume and folder.finished):
        check_free(out)
    let_idle_threads_sleep()
    from pytest_circuits.model.arithmetic import own_arithmetic  # noqa: PLC0415
    from pytest_circuits.train.distributed import joined  # noqa: PLC0415  (torch, after the checks)
    from pytest_circuits.train.start import as_started, start_of  # noqa: PLC0415

    start = start_of(plan, base=config.parent)
    plan = as_started(plan, start) if start else plan
    try:
        with joined(device) as world, own_arithmetic():
            world.check(plan.batch)
            scores = _trained(plan, start, folder, world, source=config, resume=resume)
    except KeyboardInterrupt:
        raise StoppedError(
            f"interrupted; {out} was not written, what is done so far is kept: go on with --resume"
        ) from None
    except OSError as error:
        raise CircuitsError(
            f"{error.filename or out}: cannot be written: {error.strerror or error}; what is done "
            "so far is kept: make room, and go on with --resume"
        ) from error
    if not world.main:
        return
    if scores is None:
        click.echo(f"{out}: this run is finished; nothing is left to do")
        return
    losses = ", ".join(f"{loss:.3f} ({name})" for name, loss in scores.losses.items())
    click.echo(f"{out}: {sum(scores.nonzeros.values()):,} nonzero weights, held-out loss {losses}")


def let_idle_threads_sleep() -> None:
    """Keep torch's threads from spinning for milliseconds after each operation, in this process.

    They hold the cores that selection works on in between (model/sparse/selection.py): a training
    step takes about 8 % longer with two threads. Must run before torch is imported, and leaves
    alone what the environment already says.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")


def _trained(
    plan: TrainConfig,
    start: SparseModel | None,
    folder: RunFolder,
    world: World,
    *,
    source: Path,
    resume: bool,
) -> Scores | None:
    """Scores of the model that was made; None where the run had been finished before."""
    from pytest_circuits.system.stopping import stop_requests  # noqa: PLC0415
    from pytest_circuits.train.job import prepared  # noqa: PLC0415  (torch)

    finished = folder.finished
    parent = start.digest if start else None
    with hold(folder.path) if world.main else nullcontext():
        world.first(lambda: folder.take_up(plan, resume=resume, parent=parent))
        scores = None
        if not finished:
            job = prepared(plan, folder, world, base=source.parent, start=start)
            with stop_requests() as stop:
                scores = job.run(stop)
            job.write(scores, command=f"pytest-circuits train {source} --out {folder.out}")
        if world.main:
            folder.clear()
    return scores
