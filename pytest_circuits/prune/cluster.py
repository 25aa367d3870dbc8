"""Requests as jobs of a cluster: SLURM by submitit, which only this module needs."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

from pytest_circuits.errors import STOPPED, UsageError
from pytest_circuits.prune.jobs import CRASHED, GO_ON, Ended, finish
from pytest_circuits.prune.request import Request

_PAUSE = 1.0  # seconds between two looks at the jobs


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
    folder = request.place / f"jobs-{sha256(request.to_json().encode()).hexdigest()[:8]}"
    requests = request.each()

    def begin(say: Callable[[str], None]) -> _Submitted:
        jobs = _submitted(requests, cluster, folder)
        say(f"jobs {', '.join(job.job_id for job in jobs)}; their logs: {folder}")
        return _Submitted([each.name for each in requests], jobs, say)

    status = finish(requests, begin, pause=_PAUSE)
    if status <= 1:  # what is in the logs otherwise may be wanted
        shutil.rmtree(folder, ignore_errors=True)
    return status


@dataclass(frozen=True, slots=True)
class _Submitted:
    names: Sequence[str]
    jobs: Sequence[Any]  # submitit has no types
    say: Callable[[str], None]

    def ended(self, index: int) -> Ended | None:
        """The result of a job that is over, or why it has none."""
        job, name = self.jobs[index], self.names[index]
        if not job.done():
            return None
        utils = import_module("submitit.core.utils")
        for line in (job.stderr() or "").splitlines():
            self.say(f"{name}: {line}")
        try:
            return Ended(*job.result())
        except utils.FailedJobError as error:
            self.say(f"{name}: {error}")
            return Ended(CRASHED, "")
        except utils.UncompletedJobError as error:
            self.say(f"{name}: {error}")
            self.say(f"{name}: {GO_ON}")
            return Ended(STOPPED, "")

    def stop(self) -> None:
        for job in self.jobs:
            job.cancel(check=False)


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
    wishes = {"slurm_partition": cluster.partition, "slurm_array_parallelism": cluster.at_once}
    executor.update_parameters(
        name="pytest-circuits-prune",
        timeout_min=cluster.minutes,
        gpus_per_node=cluster.gpus,
        **{name: wish for name, wish in wishes.items() if wish is not None},
    )
    with executor.batch():
        return [executor.submit(Job(request)) for request in requests]
