"""Requests as jobs of a cluster: SLURM by submitit, which only this module needs."""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

from pytest_circuits.errors import STOPPED, UsageError
from pytest_circuits.prune.folders import place_of
from pytest_circuits.prune.jobs import CRASHED, GO_ON, Ended, end_of, name_of, told
from pytest_circuits.prune.request import Request
from pytest_circuits.system.progress import reporting

_POLL = 1.0  # seconds between two looks at the jobs


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where jobs are handed to, and what each of them gets."""

    name: str  # "slurm", or "local" for processes of this machine
    partition: str | None
    minutes: int
    gpus: int
    at_once: int | None  # jobs that run at a time; None: as many as the cluster lets


@dataclass(frozen=True, slots=True)
class Job:
    """What runs on the cluster; submitit stores it and calls it there."""

    request: Request

    def __call__(self) -> tuple[int, str]:
        """Search; returns the exit status and the text of the results."""
        from pytest_circuits.prune.run import perform  # noqa: PLC0415  (torch, on the cluster)

        with redirect_stdout(io.StringIO()) as text:
            status = perform(self.request)
        return status, text.getvalue()

    def checkpoint(self) -> Any:  # noqa: ANN401  (submitit has no types)
        """What is queued in place of a job that is preempted: the same, which goes on."""
        return _submitit().helpers.DelayedSubmission(self)


def on_cluster(request: Request, cluster: Cluster) -> int:
    """Run each specification as a job and wait for all; returns the worst exit status.

    Raises:
        UsageError: submitit is not installed, or finds no cluster.

    """
    folder = place_of(request) / f"jobs-{sha256(request.to_json().encode()).hexdigest()[:8]}"
    requests = request.each()
    jobs = _submitted(requests, cluster, folder)
    ended: dict[int, Ended] = {}
    with reporting("jobs", len(jobs)) as reporter:
        reporter.say(f"jobs {', '.join(job.job_id for job in jobs)}; their logs: {folder}")
        try:
            while len(ended) < len(jobs):
                for index, job in enumerate(jobs):
                    if index not in ended and job.done():
                        name = name_of(requests[index])
                        ended[index] = _ended(job, name, reporter.say)
                        reporter.say(f"{name}: {end_of(ended[index].status)}")
                        reporter.at(len(ended))
                time.sleep(_POLL if len(ended) < len(jobs) else 0)
        except BaseException:
            for job in jobs:
                job.cancel(check=False)
            raise
    status = told([ended[index] for index in sorted(ended)])
    if status <= 1:  # what is in the logs otherwise may be wanted
        shutil.rmtree(folder, ignore_errors=True)
    return status


def _submitit() -> Any:  # noqa: ANN401  (it has no types)
    try:
        return import_module("submitit")
    except ImportError:
        raise UsageError("--cluster needs submitit: pip install 'pytest-circuits[slurm]'") from None


def _submitted(requests: Sequence[Request], cluster: Cluster, folder: Path) -> list[Any]:
    submitit = _submitit()
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster.name)
    except RuntimeError as error:
        raise UsageError(f"--cluster {cluster.name}: {error}") from None
    wishes = {
        "slurm_partition": cluster.partition,
        "slurm_array_parallelism": cluster.at_once,
    }
    executor.update_parameters(
        name="pytest-circuits-prune",
        timeout_min=cluster.minutes,
        gpus_per_node=cluster.gpus,
        **{name: wish for name, wish in wishes.items() if wish is not None},
    )
    with executor.batch():
        return [executor.submit(Job(request)) for request in requests]


def _ended(
    job: Any,  # noqa: ANN401  (it has no types)
    name: str,
    say: Callable[[str], None],
) -> Ended:
    """The result of a job that is over, or why it has none."""
    utils = import_module("submitit.core.utils")
    for line in (job.stderr() or "").splitlines():
        say(f"{name}: {line}")
    try:
        return Ended(*job.result())
    except utils.FailedJobError as error:
        say(f"{name}: {error}")
        return Ended(CRASHED, "")
    except utils.UncompletedJobError as error:
        say(f"{name}: {error}")
        say(f"{name}: {GO_ON}")
        return Ended(STOPPED, "")
