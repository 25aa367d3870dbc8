"""One job of `prune --jobs`: `python -m pytest_circuits.prune.worker REQUEST`.

It ends when its standard input does, so that no job outlives a command that was killed.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from threading import Thread

from pytest_circuits.errors import STOPPED
from pytest_circuits.prune.jobs import CRASHED
from pytest_circuits.prune.request import Request


def main() -> int:
    """Search what the command line says; returns the exit status."""
    # Ctrl-C reaches all processes of a terminal; the one that started this one ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_the_command, daemon=True).start()
    try:
        from pytest_circuits.prune.run import perform  # noqa: PLC0415  (torch, after the signal)

        return perform(Request.from_json(sys.argv[1]))
    except Exception:  # noqa: BLE001  (a traceback's own status, 1, is that of a search in vain)
        traceback.print_exc()
        return CRASHED


def _end_with_the_command() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(STOPPED)


if __name__ == "__main__":
    sys.exit(main())
