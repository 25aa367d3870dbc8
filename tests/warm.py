"""Processes that find their modules loaded: each is a copy of one that did nothing but load them.

To start Python and load torch takes two seconds of a core, a copy of a process that has it some
hundredths. What such a process does is the same; that it starts as a new one does is for the tests
that say so. Run as a script, this is the process that is copied: a line of standard input is a
command, two of standard output are its pid and how it ended.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Timer
from typing import IO, Any

POSSIBLE = Path("/proc/self/fd").exists()


@dataclass(slots=True)
class WarmPython:
    """Runs Python commands as `subprocess.run` does."""

    modules: tuple[str, ...]
    _stem: subprocess.Popen[str] | None = field(default=None, init=False)

    def run(
        self,
        command: Sequence[str],
        *,
        stdin: IO[bytes] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        timeout: float | None = None,
        **_as_here: Any,  # noqa: ANN401  (output is captured as text, statuses are not checked)
    ) -> subprocess.CompletedProcess[str]:
        """Run `[python, SCRIPT, ARGUMENT...]`, `-m MODULE` or `-c CODE`; `-I` is passed over."""
        with TemporaryDirectory() as folder:
            out, err = Path(folder) / "out", Path(folder) / "err"
            job = {
                "arguments": [part for part in command[1:] if part != "-I"],
                "files": [
                    f"/proc/{os.getpid()}/fd/{stdin.fileno()}" if stdin else os.devnull,
                    str(out),
                    str(err),
                ],
                "env": dict(os.environ if env is None else env),
                "cwd": str(cwd or Path.cwd()),
            }
            status = self._ask(json.dumps(job), timeout)
            said = [path.read_text(encoding="utf-8", errors="replace") for path in (out, err)]
        if status is None:
            raise subprocess.TimeoutExpired(list(command), timeout or 0)
        return subprocess.CompletedProcess(list(command), status, *said)

    def _ask(self, job: str, seconds: float | None) -> int | None:
        """The exit status; None where it took too long and was ended."""
        if self._stem is None:
            self._stem = subprocess.Popen(
                [sys.executable, "-P", __file__, *self.modules],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._stem.stdin is not None
        assert self._stem.stdout is not None
        self._stem.stdin.write(f"{job}\n")
        self._stem.stdin.flush()
        child, late = int(self._stem.stdout.readline()), Event()

        def end() -> None:
            late.set()
            os.kill(child, signal.SIGKILL)

        watch = Timer(seconds or 3600, end)
        watch.start()
        status = int(self._stem.stdout.readline())
        watch.cancel()
        return None if late.is_set() else status

    def close(self) -> None:
        if self._stem is not None:
            self._stem.communicate()
            self._stem = None


def _serve() -> None:
    for line in sys.stdin:
        child = os.fork()
        if not child:
            os._exit(_become(json.loads(line)))
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stdout.write(f"{status}\n")
        sys.stdout.flush()


def _become(job: Mapping[str, Any]) -> int:
    """Run a command in this process, which is then good for nothing else; its exit status."""
    for number, path in enumerate(job["files"]):
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC if number else os.O_RDONLY
        os.dup2(os.open(path, flags, 0o600), number)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)  # nothing of what was read ahead
    os.environ.clear()
    os.environ.update(job["env"])
    os.chdir(job["cwd"])
    first, *sys.argv[1:] = job["arguments"]
    try:
        if first == "-m":
            runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
        elif first == "-c":
            exec(sys.argv.pop(1), {"__name__": "__main__"})  # noqa: S102
        else:
            sys.argv[0] = first
            runpy.run_path(first, run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  (as a process of its own would)
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


if __name__ == "__main__":
    for module in sys.argv[1:]:
        import_module(module)
    _serve()
