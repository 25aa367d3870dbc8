"""`pytest-circuits prune SPEC ...`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from pytest_circuits.commands import PATH
from pytest_circuits.errors import SpecError, StoppedError, UsageError
from pytest_circuits.prune.cluster import Cluster, on_cluster
from pytest_circuits.prune.jobs import in_processes
from pytest_circuits.prune.request import Request, targets_of
from pytest_circuits.spec.load import LoadedSpec, load_spec
from pytest_circuits.spec.places import role_of
from pytest_circuits.spec.problems import quoted
from pytest_circuits.system.stopping import interruptions

_OF_CLUSTER = ("cluster", "partition", "minutes", "gpus")  # options
_CONCLUDED = (0, 1)  # exit statuses of a search that is over, with or without a circuit


@click.command()
@click.argument("specs", metavar="SPEC...", nargs=-1, required=True, type=PATH)
@click.option(
    "--model", type=click.Path(), help="Search in this model instead of the one that SPEC names."
)
@click.option(
    "--out", type=PATH, help="Write the complete specification here; default: SPEC itself."
)
@click.option(
    "--method",
    type=click.Choice(["auto", "masks", "attribution", "greedy"]),
    default="auto",
    show_default=True,
    help="How nodes are proposed before they are refined: learnt masks, the ranking by integrated "
    "gradients, or removal from the outputs back to the inputs. auto: the ranking among up to "
    "1,024 nodes of a model that runs no circuits compiled, such as the heads of one of "
    "transformers; else masks, and where these lead to no circuit the ranking.",
)
@click.option(
    "--start-from",
    "start",
    type=click.Choice(["all", "attribution", "greedy", "spec"]),
    default="all",
    show_default=True,
    help="Nodes that the masks start with: all, what another method proposes, or those that SPEC "
    "has. The others may still come in.",
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
    "--rivals",
    is_flag=True,
    help="Search again, with the nodes that were found at a higher price, until no circuit with "
    "at most half of its nodes in common meets the same demands: the rivals, under `found_by`.",
)
@click.option(
    "--certify",
    is_flag=True,
    help="Say under `found_by` which nodes are needed whatever a few of the prompts are, by 1,000 "
    "subsamples; the others abstain. Where `faithful` is not declared, try every smaller circuit "
    "besides, the smallest first, up to 20,000 of them. Without this up to 512 of them are, where "
    "a ranking was refined.",
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
@click.option(
    "--device",
    help="Device to search on; default: cuda if there, else cpu. Several, as in cuda:0,cuda:1: "
    "each SPEC becomes a job, one a device at a time.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1, max=1000),
    help="Search each SPEC in a process of its own, so many at a time; default: all in one batch.",
)
@click.option(
    "--cluster",
    type=click.Choice(["slurm", "local"]),
    help="Search each SPEC as a job of SLURM, handed over by submitit (pip install "
    "'pytest-circuits[slurm]'); local: on this machine, to try it out.",
)
@click.option("--partition", help="SLURM partition of the jobs of --cluster.")
@click.option(
    "--minutes",
    type=click.IntRange(min=1),
    help="Time limit of a job of --cluster; default: 60. A job that reaches it, or is preempted, "
    "is queued again and goes on.",
)
@click.option("--gpus", type=click.IntRange(min=0), help="GPUs of a job of --cluster; default: 0.")
@click.option(
    "--state",
    type=click.Path(file_okay=False),
    help="Folder in which unfinished searches are kept; default: .prune beside what is written.",
)
def prune(
    specs: tuple[Path, ...],
    out: Path | None,
    device: str | None,
    jobs: int | None,
    **options: Any,  # noqa: ANN401  (click passes them by name)
) -> None:
    """Find the circuit of the behavior in each SPEC and write it as a complete specification.

    SPEC may have no `nodes` yet; those that it has are replaced. Several behaviors are searched in
    one batch. The exit code is 1 where a behavior has no circuit that is good enough; those of the
    others are written all the same.

    A search that was stopped or killed goes on where it was when the same command is run again.
    """
    cluster = _cluster(jobs=jobs, **{name: options.pop(name) for name in _OF_CLUSTER})
    of_masks = options["method"] in {"auto", "masks"}
    if options["start"] != "all" and not of_masks:
        raise UsageError("--start-from is about masks; leave it or --method away")
    if options["rivals"] and options["method"] == "greedy":
        raise UsageError("--rivals need masks or a ranking; leave it or --method greedy away")
    devices = device.split(",") if device else [None]
    if cluster is not None and len(devices) > 1:
        raise UsageError("--cluster gives each job its own GPUs; name one --device")
    targets = targets_of(specs, out)
    request = Request(tuple(map(str, specs)), targets, device=devices[0], **options)
    loaded = [load_spec(path) for path in specs]
    _refuse_places(loaded)
    try:
        with interruptions():
            if cluster is not None:
                status = _cleared(request, on_cluster(request, cluster))
            elif jobs is not None or len(devices) > 1:
                at_once = jobs or len(devices)
                status = _cleared(request, in_processes(request.each(), devices, at_once))
            else:
                status = _in_one_batch(request, loaded)
    except KeyboardInterrupt as asked:
        by = f"stopped by {asked}" if str(asked) else "stopped"
        raise StoppedError(
            f"{by}; what was found is kept in {request.place}: run the same command again to go on"
        ) from None
    raise SystemExit(status)


def _refuse_places(several: Iterable[LoadedSpec]) -> None:
    problems = [
        loaded.problem_at(
            ("nodes", name),
            f"a search finds nodes that count at all tokens, and would replace {quoted(name)}",
            "leave the place out, and put it to what is found",
            key=True,
        )
        for loaded in several
        for name in loaded.spec.nodes
        if role_of(name)
    ]
    if problems:
        raise SpecError(*problems)


def _cluster(
    *,
    jobs: int | None,
    cluster: str | None,
    **wishes: Any,  # noqa: ANN401  (as they come)
) -> Cluster | None:
    if cluster is None:
        for name, wish in wishes.items():
            if wish is not None:
                raise UsageError(f"--{name} is for jobs of a cluster; say --cluster slurm too")
        return None
    return Cluster(
        name=cluster,
        partition=wishes["partition"],
        minutes=wishes["minutes"] or 60,
        gpus=wishes["gpus"] or 0,
        at_once=jobs,
    )


def _in_one_batch(request: Request, loaded: Sequence[LoadedSpec]) -> int:
    from pytest_circuits.prune.run import search  # noqa: PLC0415  (torch, after the files)

    with request.taking():
        status = search(request, loaded)
        request.clear()
    return status


def _cleared(request: Request, status: int) -> int:
    """Clear up after jobs, if all of them have come to an end."""
    if status in _CONCLUDED:
        with request.taking():
            request.clear()
    return status
