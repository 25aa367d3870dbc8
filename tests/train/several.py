"""Runs commands in several processes as torchrun does, in less time: torch is imported once.

Run: python several.py PROCESSES STOP_AFTER ARGUMENT... [then PROCESSES STOP_AFTER ARGUMENT...]...
where every process of a command ends without a word before step STOP_AFTER + 1, unless that is -1.
One process is alone, as without torchrun. The exit status is that of the last command.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys

import torch._dynamo
import torch.distributed.fsdp
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

import pytest_circuits.train.job
from pytest_circuits.cli import main
from pytest_circuits.train.loop import Trainer

SHARED = (torch._dynamo, torch.distributed.fsdp, pytest_circuits.train.job)  # imported by no child
PATIENCE = 30  # seconds that the others have after the first one failed


def worker(rank: int, processes: int, port: int, stop_after: int, arguments: list[str]) -> int:
    """One of the processes; returns its exit status."""
    if processes > 1:
        os.environ |= {
            **dict.fromkeys(("RANK", "LOCAL_RANK"), str(rank)),
            **dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), str(processes)),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "TORCHELASTIC_RUN_ID": "several",
        }
    step, destroy = Trainer.step, distributed.destroy_process_group

    def parting() -> None:
        """What uses the group has to go before it, or the last of them may wait for ever."""
        if sys.exc_info() == (None, None, None):
            assert not any(type(each) is DistributedDataParallel for each in gc.get_objects())
        destroy()

    def stopping(self: Trainer, *given: object, **named: object) -> object:
        if self.done == stop_after:
            os._exit(9)
        return step(self, *given, **named)  # type: ignore[arg-type]  # whatever it takes

    Trainer.step = stopping  # type: ignore[method-assign,assignment]
    distributed.destroy_process_group = parting  # type: ignore[assignment]
    try:
        main(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def run(processes: int, stop_after: int, arguments: list[str]) -> int:
    """All processes; what one that failed leaves waiting is ended, once it had time to say why."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children: list[int] = []
    for rank in range(processes):
        child = os.fork()
        if not child:
            os._exit(worker(rank, processes, port, stop_after, arguments))
        children.append(child)

    def end_all(_number: int, _frame: object) -> None:
        for child in children:  # one that waits for the others in gloo hears no gentler signal
            os.kill(child, signal.SIGKILL)

    signal.signal(signal.SIGALRM, end_all)
    worst = 0
    while children:
        child, status = os.wait()
        children.remove(child)
        if os.waitstatus_to_exitcode(status) and not worst:
            worst = 1
            signal.alarm(PATIENCE)
    signal.alarm(0)
    return worst


def run_all(given: list[str]) -> int:
    """The commands, one after the other; returns the exit status of the last."""
    if "then" in given:
        end = given.index("then")
        run_all(given[:end])
        return run_all(given[end + 1 :])
    processes, stop_after, *arguments = given
    return run(int(processes), int(stop_after), arguments)


if __name__ == "__main__":
    sys.exit(run_all(sys.argv[1:]))
