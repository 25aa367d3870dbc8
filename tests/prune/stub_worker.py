"""A job's process whose search is made up, by the name of the specification."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pytest_circuits.prune.request import Request


def perform(request: Request) -> int:
    """Do as the specification is called."""
    path = Path(request.specs[0])
    name = path.name.partition(".")[0]
    sys.stdout.write(f"{name}: result on {request.device}\n")
    for part in ("half a line, ", "the other half\n") * 3:
        sys.stderr.write(part)
        sys.stderr.flush()
        time.sleep(0.01)
    match name:
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "broken":
            raise RuntimeError("a bug")
        case "vain":
            return 1
        case "endless":
            path.with_suffix(".pid").write_text(str(os.getpid()))
            time.sleep(600)
    return 0


if __name__ == "__main__":
    fake: Any = SimpleNamespace(perform=perform)
    sys.modules["pytest_circuits.prune.run"] = fake
    from pytest_circuits.prune.jobs import main

    sys.exit(main())
