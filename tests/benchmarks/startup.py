"""What the unused plugin costs: CPU added to `pytest --collect-only` in an empty folder.

Both runs load one plugin by name (`PYTEST_DISABLE_PLUGIN_AUTOLOAD` and `-p`): this one, or a module
with nothing in it. So they differ in what this plugin imports and does, and in nothing else:
naming a plugin makes pytest look through every installed distribution, which an ordinary run does
anyway. The runs alternate, because the machine's speed drifts, and the figure is the median of the
paired differences.

Run: python tests/benchmarks/startup.py [--pairs 15]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

NOTHING = "startup_empty_plugin"
PLUGIN = "pytest_circuits.plugin"
NO_TESTS_COLLECTED = 5


def cpu_ms(plugin: str, *, empty: Path, modules: Path) -> float:
    """CPU (user and system) of one `pytest --collect-only` with one plugin, in milliseconds."""
    path = os.pathsep.join(filter(None, [str(modules), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": path}
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", plugin],
        cwd=empty,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != NO_TESTS_COLLECTED:
        sys.exit(f"pytest -p {plugin} ended with {process.returncode}, not with 'no tests'")
    return 1000 * (usage.ru_utime + usage.ru_stime)


def main() -> None:
    """Print the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15)
    pairs = parser.parse_args().pairs
    with tempfile.TemporaryDirectory() as folder:
        empty, modules = Path(folder, "empty"), Path(folder, "modules")
        empty.mkdir()
        modules.mkdir()
        (modules / f"{NOTHING}.py").touch()
        both = (NOTHING, PLUGIN)
        for plugin in both:
            cpu_ms(plugin, empty=empty, modules=modules)  # writes the bytecode that later runs find
        runs = [[cpu_ms(p, empty=empty, modules=modules) for p in both] for _ in range(pairs)]
    added = sorted(with_ - without for without, with_ in runs)
    print(f"pytest alone: {statistics.median(without for without, _ in runs):.1f} ms")
    print(f"pairs: {pairs}, differences from {added[0]:.1f} to {added[-1]:.1f} ms")
    print(f"startup_cpu_ms: {statistics.median(added):.2f}")


if __name__ == "__main__":
    main()
