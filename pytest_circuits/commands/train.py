"""`pytest-circuits train CONFIG --out DIR [--from DENSE] [--resume]`."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_circuits.commands import PATH
from pytest_circuits.errors import CircuitsError, StoppedError, UsageError
from pytest_circuits.spec.load import read_as
from pytest_circuits.system.files import check_free
from pytest_circuits.system.lock import hold
from pytest_circuits.train.bridge.config import BridgeConfig
from pytest_circuits.train.config import TrainConfig
from pytest_circuits.train.run_folder import RunFolder

if TYPE_CHECKING:
    from pytest_circuits.train.distributed import World
    from pytest_circuits.train.evaluation import Scores

_FINISHED = "this run is finished; nothing is left to do"


@click.command()
@click.argument("config", type=PATH)
@click.option(
    "--out",
    required=True,
    type=PATH,
    help="Directory that the model is written to; the state of the run is kept beside it, in "
    "OUT.training.",
)
@click.option(
    "--from",
    "dense",
    type=PATH,
    help="A dense model of transformers, a local directory, to make sparse within the bound on its "
    "loss that CONFIG gives.",
)
@click.option("--resume", is_flag=True, help="Go on with a run that was stopped or killed.")
@click.option("--device", help="Device to train on; default: cuda if there, else cpu.")
def train(
    config: Path,
    out: Path,
    dense: Path | None,
    resume: bool,  # noqa: FBT001  (click passes it by name)
    device: str | None,
) -> None:
    """Make a weight-sparse model from a YAML configuration.

    Ctrl-C and SIGTERM save the state and stop within a step; --resume goes on to the same weights.
    With several GPUs: torchrun --nproc-per-node N -m pytest_circuits train CONFIG --out DIR.
    """
    folder = RunFolder(out)
    asked = _Asked(config, folder, resume=resume, device=device)
    work = (
        partial(_trained, read_as(config, TrainConfig))
        if dense is None
        else partial(_bridged, read_as(config, BridgeConfig), dense)
    )
    if not (resume and folder.finished):
        check_free(out)
    let_idle_threads_sleep()
    try:
        outcome = work(asked)
    except KeyboardInterrupt:
        raise StoppedError(
            f"interrupted; {out} was not written, what is done so far is kept: go on with --resume"
        ) from None
    except OSError as error:
        raise CircuitsError(
            f"{error.filename or out}: cannot be written: {error.strerror or error}; what is done "
            "so far is kept: make room, and go on with --resume"
        ) from error
    if outcome is not None:
        click.echo(f"{out}: {outcome}")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the command line says."""

    source: Path  # of the configuration
    folder: RunFolder
    resume: bool
    device: str | None


def let_idle_threads_sleep() -> None:
    """Keep torch's threads from spinning for milliseconds after each operation, in this process.

    They hold the cores that selection works on in between (model/sparse/selection.py): a training
    step takes about 8 % longer with two threads. Must run before torch is imported, and leaves
    alone what the environment already says.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")


def _trained(plan: TrainConfig, asked: _Asked) -> str | None:
    """One line about the model that was made; None in a process that does not report."""
    from pytest_circuits.model.arithmetic import own_arithmetic  # noqa: PLC0415
    from pytest_circuits.train.distributed import joined  # noqa: PLC0415  (torch, after the checks)

    with joined(asked.device) as world, own_arithmetic():
        scores = _scored(plan, asked, world)
    if not world.main:
        return None
    if scores is None:
        return _FINISHED
    losses = ", ".join(f"{loss:.3f} ({name})" for name, loss in scores.losses.items())
    return f"{sum(scores.nonzeros.values()):,} nonzero weights, held-out loss {losses}"


def _scored(plan: TrainConfig, asked: _Asked, world: World) -> Scores | None:
    """What the model scores at the end of its training; None where that was done before.

    With its return goes the job, before the processes part: see `joined`.
    """
    from pytest_circuits.system.stopping import stop_requests  # noqa: PLC0415
    from pytest_circuits.train.job import prepared  # noqa: PLC0415  (torch)
    from pytest_circuits.train.start import as_started, start_of  # noqa: PLC0415

    folder, source, scores = asked.folder, asked.source, None
    start = start_of(plan, base=source.parent)
    plan = as_started(plan, start) if start else plan
    parent = start.digest if start else None
    world.check(plan.batch)
    finished = folder.finished
    with hold(folder.path) if world.main else nullcontext():
        world.first(lambda: folder.take_up(plan, resume=asked.resume, parent=parent))
        if not finished:
            job = prepared(plan, folder, world, base=source.parent, start=start)
            with stop_requests() as stop:
                scores = job.run(stop)
            job.write(scores, command=f"pytest-circuits train {source} --out {folder.out}")
        if world.main:
            folder.clear()
    return scores


def _bridged(plan: BridgeConfig, path: Path, asked: _Asked) -> str:
    """One line about the model that was made of the dense one at a path."""
    from pytest_circuits.model.arithmetic import own_arithmetic  # noqa: PLC0415
    from pytest_circuits.system.stopping import stop_requests  # noqa: PLC0415
    from pytest_circuits.train.bridge.dense import load_dense, with_tokenizer  # noqa: PLC0415
    from pytest_circuits.train.bridge.job import prepared  # noqa: PLC0415  (torch, transformers)
    from pytest_circuits.train.distributed import joined  # noqa: PLC0415

    folder, base = asked.folder, asked.source.parent
    with joined(asked.device) as world, own_arithmetic():
        if world.size > 1:
            raise UsageError("--from is the work of one process; start it without torchrun")
        dense = load_dense(path, plan, device=world.device)
        plan = with_tokenizer(plan, dense, base=base)
        begun = folder.has_state
        with hold(folder.path):
            folder.take_up(plan, resume=asked.resume, parent=dense.digest)
            if folder.finished:
                return _FINISHED
            try:
                job = prepared(plan, folder, dense, base=base)
            except CircuitsError:
                if not begun:
                    folder.forget()
                raise
            with stop_requests() as stop:
                kept = job.run(stop)
            command = f"pytest-circuits train {asked.source} --from {path} --out {folder.out}"
            job.write(kept, command=command)
            folder.clear()
    return job.outcome(kept)
